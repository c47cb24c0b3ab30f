"""``make faults``: what goes wrong on a bad day, tried on the deployed stack, as a table."""
