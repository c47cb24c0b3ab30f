"""The function that checks the status of a job's batches."""
