"""Measurements: cost, time, memory, and how they compare with other tools."""
