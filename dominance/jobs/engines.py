"""Which engine ``--on`` means."""

from __future__ import annotations

import os
from typing import Any

from dominance.errors import BadOption
from dominance.jobs.engine import Engine
from dominance.jobs.local import Local

KNOWN = "local, dask, dask=tcp://HOST:PORT or slurm[:partition=NAME,gpus=1,time=60]"


def engine(on: Any = "local", jobs: int | None = None) -> Engine:
    """What runs jobs there.

    Args:
        on: "local"; "dask", for workers of this machine that are started for it; "dask=ADDRESS" of a scheduler;
            "slurm", with options after a colon; or a ``distributed.Client``.
        jobs: so many at the same time; None: as many as there is room for.

    Raises:
        BadOption: there is no such engine, an option of it is unknown, or a package is not installed.
        Unreachable: the scheduler does not answer.
    """
    if jobs is not None and jobs < 1:
        raise BadOption(f"--jobs {jobs} does nothing", fix="give 1 or more")
    if on == "local":
        if not hasattr(os, "fork"):
            raise BadOption("this system cannot fork processes", fix="run it on Linux or macOS")
        return Local(jobs or os.cpu_count() or 1)
    if not isinstance(on, str) or on == "dask" or (on.startswith("dask=") and on != "dask="):
        from dominance.jobs.on_dask import Dask

        return Dask(on.removeprefix("dask").removeprefix("=") if isinstance(on, str) else on, jobs)
    if on.partition(":")[0] == "slurm":
        from dominance.jobs.on_slurm import Slurm, read_options

        return Slurm(read_options(on.partition(":")[2]), jobs)
    raise BadOption(f"--on {on!r} is unknown", fix=f"give {KNOWN}")
