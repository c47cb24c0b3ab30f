"""The interpreter of the shipped state machine; its time is that of whoever runs it."""
