"""The function that looks at a job's batches."""
