"""The metrics of the papers, by what has a label: a sample, or every pixel of a picture."""
