"""Rows of data sets: found, read and checked, coded, split, and dealt in mini-batches."""
