"""Submit one shard attempt: upload its requests to Groq and create its batch, at most once."""
