"""Training programs by number, each run plain and under ``dominance record`` and judged by gradients taken by hand."""
