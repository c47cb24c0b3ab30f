"""The function that collects one shard attempt."""
