"""Rows of a recording, and where they go."""
