"""Task-wise optimizers: one method a file, from the tasks' gradients to a step."""
