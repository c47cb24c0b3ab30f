"""Streaming and checking of a request file; no I/O."""
