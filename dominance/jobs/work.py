"""What a worker elsewhere is asked: text in, text out, so that nothing of ours is ever pickled by value."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dominance.jobs.job import Answer, Request
from dominance.jobs.versions import differences, versions
from dominance.jobs.warm import warm

_here: dict[str, int] = {}
"""Folder of each job that this process has, and its number at the helper."""
_PATIENCE = 60.0
_ASK = 1.0
"""Seconds between two questions whether the worker is leaving; the end of a job is told at once."""


def work(text: str, leaving: Callable[[], bool] = lambda: False) -> str:
    """Run a job in a process forked for it, and wait for that. Returns an ``Answer`` as JSON.

    Args:
        text: a ``Request`` as JSON.
        leaving: asked now and then; once it says True the job is told to keep a checkpoint and to end.
    """
    told = Request.from_json(text)
    came: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    _here[told.folder] = warm().start(told, came.put)
    try:
        while True:
            try:
                return came.get(timeout=_ASK).to_json()
            except queue.Empty:
                if leaving():
                    warm().interrupt(_here[told.folder])
    finally:
        del _here[told.folder]


def work_for_dask(text: str) -> str:
    """``work``, in a thread of a dask worker: one that is told to go takes its job along."""
    from distributed import Status, get_worker

    worker = get_worker()
    return work(text, lambda: worker.status not in (Status.running, Status.paused))


def dask_setup(worker: object) -> None:
    """What a dask worker does first that is made for one command: it leaves the terminal's group of processes.

    Ctrl-C then reaches the command alone, which tells the others; such a worker would end with a traceback.
    """
    if os.getpgrp() != os.getpid():
        os.setsid()


def look(token: str) -> str:
    """What this worker is, as JSON: its versions, its host, and what it reads from the file ``token``."""
    try:
        seen = Path(token).read_text(encoding="utf-8")
    except OSError:
        seen = ""
    return json.dumps({"versions": dict(versions()), "host": socket.gethostname(), "seen": seen})


async def halt(folders: Sequence[str]) -> None:
    """Tell jobs of this worker to keep a checkpoint and to end, and wait for it."""
    for folder in folders:
        if folder in _here:
            warm().interrupt(_here[folder])
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    while any(folder in _here for folder in folders) and loop.time() < end:
        await asyncio.sleep(0.05)


def stop_here(folder: str, end: float) -> None:
    """Have the job of this folder keep a checkpoint, and wait for its end, until ``time.monotonic`` says ``end``.

    It is for a signal handler: whoever waits in ``work`` for the job does not go on before this returns.
    """
    if folder in _here:
        warm().interrupt(_here[folder])
        while warm().running() and time.monotonic() < end:
            time.sleep(0.05)


def unfit(said: str, text: str, wanted: dict[str, str] | None) -> str:
    """Why a worker must not have jobs; "" when it may.

    Args:
        said: what ``look`` returned there.
        text: what the file holds that it was to read.
        wanted: versions that it must have; None: any.
    """
    found = json.loads(said)
    if found["seen"] != text:
        return f"{found['host']} does not see the output folder"
    other = "" if wanted is None else differences(found["versions"], wanted)
    return f"{found['host']} has {other}" if other else ""
