"""The function that starts jobs."""
