"""A live training run becomes rows."""
