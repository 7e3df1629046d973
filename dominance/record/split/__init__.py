"""A gradient, a remembered state and a step, split into the tasks' parts."""
