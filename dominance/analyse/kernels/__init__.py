"""Plain numpy kernels, tested against values worked out by hand."""
