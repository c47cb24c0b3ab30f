"""Python client of Groq Batch on AWS."""
