"""Data that the user brings: where it lies, and how to get it or to make a small sample when none is given."""

from __future__ import annotations

from pathlib import Path

from dominance.benchmarks.benchmark import Benchmark
from dominance.errors import MissingData


def own_data(data: str | None, benchmark: Benchmark, how_to_get: str, made_up: str = "rows") -> Path:
    """The path that was given.

    Args:
        how_to_get: what to do, up to where ``data`` has to point to.
        made_up: what ``write_sample`` of the benchmark's module writes.

    Raises:
        MissingData: none was given.
    """
    if data is None:
        sample = f"from {type(benchmark).__module__} import write_sample as w; w('sample')"
        raise MissingData(
            f"{benchmark.name} reads your own files, and data is not set",
            fix=f'{how_to_get}; to try it on made-up {made_up}: python -c "{sample}", and data=sample',
        )
    return Path(data)


def files_in(folder: Path, *names: str) -> list[Path]:
    """The files of these names.

    Raises:
        MissingData: one is not there.
    """
    found = [folder / name for name in names]
    for path in found:
        if not path.is_file():
            raise MissingData(f"{path} is no file", fix=f"point data=PATH to a folder with {' and '.join(names)}")
    return found
