"""The function that closes jobs whose executions ended without closing them."""
