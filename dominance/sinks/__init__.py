"""Where the numbers of a run go besides its directory: loggers that other programs show.

A sink is one file here, with ``begin(folder, attrs)``, which returns a ``dominance.sinks.sending.Logger``, and a name
in ``dominance.config.SINKS``. They read a run as anybody does, and nothing of them is in the training.
"""
