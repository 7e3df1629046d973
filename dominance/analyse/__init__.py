"""A run becomes numbers: numpy kernels inside, xarray outside."""
