"""Values and decisions, without I/O; the only library used is msgspec."""
