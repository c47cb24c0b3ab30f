"""The function that makes ordinary calls after a deadline."""
