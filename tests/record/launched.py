"""Processes that train together, as torchrun launches them, from interpreters that have torch imported already."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from forks import Forks


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Launch:
    """What processes that ran together left behind, by rank."""

    codes: list[int]
    errors: list[str]
    outputs: list[str]

    @property
    def said(self) -> list[str]:
        """The lines of ours, of all processes."""
        return [line for text in self.errors for line in text.splitlines() if line.startswith("dominance")]


@dataclass
class Launcher:
    """Keeps an interpreter for each process. A context manager."""

    size: int
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Launcher:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        self.forks = [self.stack.enter_context(Forks(environment)) for _ in range(self.size)]
        self.pool = self.stack.enter_context(ThreadPoolExecutor(self.size))
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def run(
        self,
        cwd: Path,
        arguments: Sequence[str],
        *,
        record: Sequence[str] | None = None,
        size: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Launch:
        """Run ``python *arguments`` in each process, or under ``dominance record *record``."""
        size = size or self.size
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
        (cwd / "input").touch()

        def one(rank: int) -> int:
            mine = {**together, "RANK": str(rank), "LOCAL_RANK": str(rank), **(environment or {})}
            files = [cwd / "input", cwd / f"output-{rank}", cwd / f"error-{rank}"]
            return self.forks[rank].run(arguments, record=record, files=files, cwd=cwd, environment=mine)

        codes = list(self.pool.map(one, range(size)))
        errors, outputs = (
            [(cwd / f"{name}-{rank}").read_text() for rank in range(size)] for name in ("error", "output")
        )
        return Launch(codes, errors, outputs)
