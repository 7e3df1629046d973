"""In a notebook: ``%load_ext dominance``, the cell magic ``%%dominance``, and reports in the cell's output."""
