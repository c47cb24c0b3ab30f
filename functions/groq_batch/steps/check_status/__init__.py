"""Look at the batches and decide how a job goes on."""
