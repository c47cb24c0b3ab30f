"""One use case for each state of the state machine."""
