"""The command line of dominance."""
