"""Recording from within a trainer's own callbacks: ``lightning`` and ``transformers``.

``dominance record train.py`` records the same without a line of code. These are for trainings that are not a script:
notebooks, services, sweeps.
"""
