"""One use case per state of the state machine."""
