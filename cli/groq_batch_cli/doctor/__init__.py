"""Checks of ``groq-batch doctor``: each one tests one part of a stack and suggests a fix."""
