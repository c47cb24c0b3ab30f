"""Access to S3; no other package calls it."""
