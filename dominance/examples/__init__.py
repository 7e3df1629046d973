"""Small whole training scripts that a person reads first."""
