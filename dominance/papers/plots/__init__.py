"""Plots that only the papers' figures use."""
