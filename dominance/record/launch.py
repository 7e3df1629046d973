"""Which of the processes of a distributed training this is, as its launcher says. Loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

from dominance.errors import BadOption


def several() -> bool:
    """Whether a launcher has started more processes than this one."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def rank() -> int:
    """This process's number among those that were launched together; 0 where there is one."""
    # Lightning tells the processes that it starts itself their number among those of the machine.
    number = os.environ.get("RANK") or os.environ.get("LOCAL_RANK", "0")
    return int(number) if several() and number.isdigit() else 0


def of_rank(run: Path) -> Path:
    """The run directory of this process: processes that are launched together are told one, and each may need its own.

    It stays empty where the gradients are averaged over the processes: then that of rank 0 holds the run of them all.
    """
    return with_rank(run, rank()) if rank() else run


def with_rank(run: Path, number: int) -> Path:
    """The run directory of the process of this number, other than 0."""
    return run.with_name(f"{run.name}-rank{number}")


def is_address(output: str) -> bool:
    """Whether a run goes to a URL, and to no folder.

    >>> is_address("s3://bucket/run"), is_address("runs/first")
    (True, False)
    """
    return "://" in output


def check_address(address: str, *, resume: bool) -> None:
    """Raise BadOption for what cannot be recorded at an address."""
    if resume:
        raise BadOption(
            f"{address}: --resume needs a folder", fix="copy the run here, go on with it, and copy it back; or --force"
        )
    if several():
        raise BadOption(
            f"{address}: a training of several processes needs a folder", fix="copy the run there afterwards"
        )
