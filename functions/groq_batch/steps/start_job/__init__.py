"""Start jobs: for uploads, for each time of the schedule, by hand."""
