"""The figures and tables of PUB."""
