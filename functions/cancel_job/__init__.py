"""The function that closes jobs which did not end by themselves."""
