"""The function that submits one shard attempt."""
