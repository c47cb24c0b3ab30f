"""Drivers of the other tools; each runs in its own interpreter that has only that tool."""
