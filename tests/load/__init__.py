"""``make burst`` and ``many_shards``: much at once on the deployed stack, and what it takes."""
