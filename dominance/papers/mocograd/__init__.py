"""The figures and tables of MoCoGrad."""
