"""The same kills of a process that appends rows to plain zarr arrays."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import zarr

WRITER = """
import sys
import numpy as np
import zarr
group = zarr.open_group(sys.argv[1], mode="w")
step = group.create_array("step", shape=(0,), chunks=(64,), dtype="i8")
update = group.create_array("update", shape=(0, 3, 110), chunks=(64, 3, 110), dtype="f4")
print("begun", flush=True)
number = 0
while True:
    number += 1
    step.append(np.array([number]))
    update.append(np.full((1, 3, 110), number, np.float32))
"""


def appended(folder: Path, count: int) -> int:
    """In how many of so many trials the arrays hold rows that nobody has written, or are of different lengths."""
    torn = 0
    for number in range(count):
        path = folder / str(number)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.Random(number).uniform(0.2, 1.0))
            process.kill()
        torn += not _whole(path)
        shutil.rmtree(path)
    return torn


def _whole(path: Path) -> bool:
    try:
        group = zarr.open_group(path, mode="r")
        arrays = {name: np.asarray(group[name]) for name in ("step", "update")}
    except (ValueError, KeyError, FileNotFoundError, RuntimeError):
        return False
    due = np.arange(1, len(arrays["step"]) + 1)
    update = arrays["update"]
    return len(update) == len(due) and bool((arrays["step"] == due).all() and (update == due[:, None, None]).all())
