"""Processes that train together, as torchrun launches them, from an interpreter that has torch imported already."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forks import Forks, asked


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
    """Forks several processes at once."""

    forks: Forks

    def run(
        self,
        cwd: Path,
        arguments: Sequence[str],
        *,
        size: int,
        record: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Launch:
        """Run ``python *arguments`` in each of ``size`` processes, or under ``dominance record *record``."""
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
        together |= {"GLOO_SOCKET_IFNAME": "lo"}
        (cwd / "input").touch()
        requests = [
            asked(
                arguments,
                record=record,
                files=[cwd / "input", cwd / f"output-{rank}", cwd / f"error-{rank}"],
                cwd=cwd,
                environment={**together, "RANK": str(rank), "LOCAL_RANK": str(rank), **(environment or {})},
            )
            for rank in range(size)
        ]
        codes = self.forks.run_together(requests)
        errors, outputs = (
            [(cwd / f"{name}-{rank}").read_text() for rank in range(size)] for name in ("error", "output")
        )
        return Launch(codes, errors, outputs)
