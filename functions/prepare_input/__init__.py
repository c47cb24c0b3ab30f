"""The function that prepares a job."""
