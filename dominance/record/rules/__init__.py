"""How the step of each optimizer family splits into tasks: one file per family."""
