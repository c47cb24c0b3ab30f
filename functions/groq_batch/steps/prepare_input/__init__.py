"""Check an uploaded request file and cut it into shards."""
