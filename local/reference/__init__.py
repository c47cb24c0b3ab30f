"""The parts of the documentation that come out of the code: ``make reference`` writes them anew."""
