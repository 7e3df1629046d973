"""The figures and tables of AdaTask."""
