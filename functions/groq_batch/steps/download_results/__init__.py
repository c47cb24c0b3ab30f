"""Collect the answers of a shard's batch, in the order of its requests."""
