"""Start jobs: for uploads, for each scheduled run, manually."""
