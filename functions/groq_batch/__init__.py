"""Groq Batch on AWS: all logic of the Lambda functions."""

__version__ = "1.0.0"
