"""Stored records of a job: one object each, with functions to load and save it."""
