"""Collect the answers to a shard's requests, in the order of the requests."""
