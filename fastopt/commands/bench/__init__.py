"""`bench`: what fastopt takes on this machine, and what others take for the same."""
