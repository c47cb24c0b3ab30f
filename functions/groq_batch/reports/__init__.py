"""What the user is told: report, event, deliverables, HTML page."""
