"""Many jobs that share nothing, each run once: what one is, who runs it (an engine), and what became of it.

A job is settings and an entry point, so that a worker anywhere needs no code of the caller's. No scheduler and no queue
lives here: engines are those that there are (processes of this machine, dask, SLURM).
"""
