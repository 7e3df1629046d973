"""What an element of a job array runs, on the node that SLURM gave it."""

from __future__ import annotations

import time
from typing import Any

from dominance.jobs.job import Request
from dominance.jobs.work import stop_here, work

_PATIENCE = 60.0
"""Seconds to keep a checkpoint in: submitit has SLURM send its signal 90 seconds before the end."""


class SlurmWork:
    """Runs a job, and has it queued again when its time is up. It holds nothing, and is pickled by its name."""

    def __call__(self, text: str) -> str:
        """As ``work``."""
        return work(text)

    def checkpoint(self, text: str) -> Any:
        """Called by submitit when the time is up, or the job must make room: stop the training, then go on with it.

        Returns:
            What is to run once the element has been queued again.
        """
        from submitit.helpers import DelayedSubmission

        stop_here(Request.from_json(text).folder, time.monotonic() + _PATIENCE)
        return DelayedSubmission(self, text)
