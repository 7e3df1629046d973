"""Versions of what numbers depend on, here and on a worker."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from dominance import __version__

_PACKAGES = ("torch", "numpy", "zarr")


@cache
def versions() -> Mapping[str, str]:
    """Of this environment, by package; nothing of them is imported."""
    found = {"dominance": __version__, "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Each package in which they differ; "" where none does.

    >>> differences({"torch": "2.12.0", "zarr": "3.1"}, {"torch": "2.13.0", "zarr": "3.1"})
    'torch 2.12.0 instead of 2.13.0'
    """
    named = [name for name in ours if theirs.get(name, "none") != ours[name]]
    return ", ".join(f"{name} {theirs.get(name, 'none')} instead of {ours[name]}" for name in named)
