"""One module for each verb; ``command`` is its click command."""
