"""A script of the user's, run as Python would run it, and recorded."""
