"""The field: one driver for each tool, run by an interpreter of its own that has only that tool."""
