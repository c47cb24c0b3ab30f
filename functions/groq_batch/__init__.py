"""Groq Batch on AWS: all logic of the Lambda functions."""

__version__ = "2.0.0"
