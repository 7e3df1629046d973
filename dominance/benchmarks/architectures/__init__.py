"""Multi-task architectures as plain modules, one file each."""
