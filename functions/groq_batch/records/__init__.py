"""The state of a job: one stored object each, with load and save."""
