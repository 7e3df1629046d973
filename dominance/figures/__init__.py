"""Pages made of plots: the report, and the paper figures."""
