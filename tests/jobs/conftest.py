"""The module that fake jobs run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_jobs import SCRIPT


@pytest.fixture
def fake_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``fake_job``, which this process and what it starts find."""
    path = tmp_path / "fake_job.py"
    path.write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return path
