"""Ask by ordinary calls what is left of a job after its deadline."""
