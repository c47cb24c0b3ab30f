"""Finish a job: deliver its results, clean up at Groq, record and publish its end."""
