"""Rows become a run directory, and back."""
