"""Interpreter of the shipped state machine; the caller provides the clock."""
