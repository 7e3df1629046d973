"""Which scalar of a training belongs to which task, as far as its graph and its source tell."""
