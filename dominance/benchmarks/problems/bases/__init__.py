"""What benchmarks have in common: abstract kinds of problems, which a problem derives from."""
