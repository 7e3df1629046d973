"""A training from scratch: what is planned, which method takes the steps, how it is recorded, stopped and resumed."""
