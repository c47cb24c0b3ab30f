"""Output for users: report, event, delivered objects, HTML pages."""
