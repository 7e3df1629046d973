"""What was measured, when, of which version and on what: a line of JSON for each time."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

import dominance


def append(path: Path, ratios: Mapping[str, Mapping[str, float]], rounds: int) -> None:
    """Ratios, by what was measured: they compare where seconds of two machines, or of two hours, do not."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=path.parent, capture_output=True, text=True, check=False
    )
    line = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "version": dominance.__version__,
        "commit": described.stdout.strip(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}",
        "rounds": rounds,
        "ratios": {what: {name: round(value, 3) for name, value in each.items()} for what, each in ratios.items()},
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
