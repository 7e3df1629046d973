"""What is measured over many runs: scores against single-task training, and what goes with them."""
