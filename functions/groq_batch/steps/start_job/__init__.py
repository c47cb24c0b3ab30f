"""Start jobs: for uploads, for each firing of the schedule, manually."""
