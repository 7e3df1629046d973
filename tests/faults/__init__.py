"""Damage that a run directory may come with, made by number and judged; ``python -m faults --help``."""
