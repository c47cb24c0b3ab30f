"""Close jobs whose execution has ended without a final report."""
