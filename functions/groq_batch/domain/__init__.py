"""Values and decisions; no I/O, no library but msgspec."""
