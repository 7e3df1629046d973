"""Combiners: one method a file, from the tasks' gradients or losses to one gradient."""
