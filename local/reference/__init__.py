"""Generates parts of the documentation from the code; ``make reference`` updates them."""
