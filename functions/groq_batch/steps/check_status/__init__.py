"""Check the status of the batches and decide how a job continues."""
