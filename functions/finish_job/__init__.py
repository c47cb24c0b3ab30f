"""The function that finishes a job."""
