"""Logs and metrics of the functions."""
