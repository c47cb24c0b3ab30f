"""Measurements: speed, memory, cost, and what faults do to a job."""
