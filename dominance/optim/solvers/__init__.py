"""Solvers of the small problems that combiners pose: K x K, K the number of tasks, in float64."""
