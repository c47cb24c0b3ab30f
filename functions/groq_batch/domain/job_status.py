"""Status of jobs in their reports."""

RUNNING = "running"
"""Status in the report of a job that has not ended."""
