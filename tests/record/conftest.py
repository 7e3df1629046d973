"""Tests that look through the whole program begin without what others have left in it."""

from __future__ import annotations

import gc

import pytest

LOOKS_THROUGH = (
    "test_inner_optimizers.py", "test_parameters.py", "test_models.py", "test_cut.py", "test_outputs.py",
    "test_batches.py",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> None:
    if request.path.name in LOOKS_THROUGH:
        gc.collect()
