"""What stands in torch while a recording lasts, and leaves it as it was."""
