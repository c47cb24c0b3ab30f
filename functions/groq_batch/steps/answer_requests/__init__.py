"""Send a job's unanswered requests as ordinary (non-batch) API calls after its deadline."""
