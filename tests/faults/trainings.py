"""Faults that befall a training while it is recorded: each is judged beside the same training without a recorder.

``python -m faults trainings --trials 3`` runs every kind three times at other moments; ``--kind "kill -9"`` one kind.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forks import Forks, asked

from faults.judge import judge

SCRIPT = Path(__file__).with_name("script.py")
STEPS = 300
Act = Callable[[int, Path], object]
"""What is done to the process of this number, which records into this run directory."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        outside: what is done to the process or to its run directory; None where the script does it to itself.
        ends: the process ends by it, so nothing is left of the training to be compared.
        damages: the run may be damaged by it, so it need not be whole; it is read or refused in one line all the same.
        disk: the run is on a small disk of its own, which needs the right to mount one.
    """

    outside: Act | None = None
    ends: bool = False
    damages: bool = False
    disk: bool = False


def _send(number: signal.Signals) -> Act:
    return lambda pid, _: os.kill(pid, number)


def _paused(pid: int, _: Path) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(pid, signal.SIGCONT)


def _became_a_file(_: int, run: Path) -> None:
    os.rename(run, run.with_name("moved"))
    run.write_text("a note of mine")


def _became_a_link(_: int, run: Path) -> None:
    os.rename(run, run.with_name("moved"))
    run.symlink_to(run.with_name("moved"), target_is_directory=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


OUTSIDE = {
    "kill -9": Kind(_send(signal.SIGKILL), ends=True),
    "terminated": Kind(_send(signal.SIGTERM), ends=True),
    "hung up": Kind(_send(signal.SIGHUP), ends=True),
    "interrupted": Kind(_send(signal.SIGINT), ends=True),
    "stopped and continued": Kind(_paused),
    "run deleted": Kind(lambda _, run: shutil.rmtree(run, ignore_errors=True), damages=True),
    "run moved away": Kind(lambda _, run: os.rename(run, run.with_name("moved")), damages=True),
    "run became a file": Kind(_became_a_file, damages=True),
    "run became a link": Kind(_became_a_link, damages=True),
    "an array deleted": Kind(lambda _, run: shutil.rmtree(run / "data.zarr/update", ignore_errors=True), damages=True),
    "root metadata overwritten": Kind(lambda _, run: (run / "data.zarr/zarr.json").write_bytes(b"{}"), damages=True),
    "disk full": Kind(lambda _, run: _fill(run.parent / "other"), damages=True, disk=True),
    "disk unmounted": Kind(
        lambda _, run: subprocess.run(["umount", "-l", run.parent], check=True), damages=True, disk=True
    ),
}
INSIDE = {
    "exit": Kind(ends=True),
    "leave at once": Kind(ends=True),
    "raise": Kind(ends=True),
    "ctrl-c": Kind(ends=True),
    "no descriptors": Kind(damages=True),
    "files stay small": Kind(damages=True),
    "umask": Kind(damages=True),
    "modules forgotten": Kind(damages=True),
} | dict.fromkeys(
    [
        *("recursion", "folder removed", "environment cleared", "errors closed", "output closed", "a fork"),
        *("a process pool", "a thread that fails", "NaN", "signals of its own"),
    ],
    Kind(),
)
KINDS: Mapping[str, Kind] = OUTSIDE | INSIDE


def _fill(file: Path) -> None:
    with open(file, "wb", buffering=0) as other:
        try:
            while other.write(b"\0" * 4096):
                pass
        except OSError:
            return


@functools.cache
def may_mount() -> bool:
    """Whether a disk of one's own can be had."""
    try:
        return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Trial:
    """How one ended.

    Attributes:
        lost: steps that the script had begun and that the run does not hold; None where the fault damages the run.
        wrong: what should not have been; "" for nothing.
    """

    kind: str
    at: int
    lost: int | None
    wrong: str


@dataclass(frozen=True)
class _Ended:
    code: int
    step: int
    weights: bytes
    out: str
    errors: str


def trial(forks: Forks, kind: str, number: int, folder: Path) -> Trial:
    """One fault at a moment that ``number`` decides, in an empty ``folder``."""
    at = random.Random(f"{kind} {number}").randrange(5, STEPS - 20)
    what = KINDS[kind]
    plain = _train(forks, folder / "plain", kind, at, record=None)
    place = folder / "recorded"
    with _disk(place / "disk") if what.disk else nullcontext():
        run = place / "disk" / "run"
        recorded = _train(forks, place, kind, at, record=["--every", "1", "-o", str(run)])
        wrong = _harm(plain, recorded, what) or _noise(plain, recorded)
        lost = None
        if not wrong:
            wrong, lost = _left(run, recorded, what)
    return Trial(kind, at, lost, wrong)


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    place.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], capture_output=True, check=False)


def train(forks: Forks, folder: Path, **how: Any) -> int:
    """Run the training in a ``folder`` that gets its output; the exit code."""
    return forks.run_together([training(folder, **how)])[0]


def training(
    folder: Path, *, record: list[str] | None, steps: int = STEPS, fault: str = "none", at: int = 0
) -> dict[str, Any]:
    """What ``Forks`` are asked for it."""
    return asked(
        [str(SCRIPT), str(folder), str(steps), fault, str(at)],
        record=record,
        files=[Path(os.devnull), folder / "out", folder / "errors"],
        cwd=folder,
        environment={"PYTHONUNBUFFERED": "1"},
    )


def _train(forks: Forks, folder: Path, kind: str, at: int, *, record: list[str] | None) -> _Ended:
    folder.mkdir(exist_ok=True)
    progress, what = folder / "progress", KINDS[kind]
    progress.write_bytes(b"\0" * 16)
    done = threading.Event()
    watch = threading.Thread(target=_befall, args=(progress, at, what, folder / "disk" / "run", done, record is None))
    watch.start()
    fault = kind if what.outside is None else "none"
    try:
        code = train(forks, folder, record=record, fault=fault, at=at)
    finally:
        done.set()
        watch.join()
    data = progress.read_bytes()
    texts = [(folder / name).read_text(errors="replace") for name in ("out", "errors")]
    return _Ended(code, struct.unpack("qq", data[:16])[1], data[16:], *texts)


def _befall(progress: Path, at: int, what: Kind, run: Path, done: threading.Event, plain: bool) -> None:
    if what.outside is None or (plain and not what.ends):
        return
    while not done.is_set():
        pid, step = struct.unpack("qq", progress.read_bytes()[:16])
        if pid and step >= at:
            what.outside(pid, run)
            return
        time.sleep(0.0005)


def _harm(plain: _Ended, recorded: _Ended, what: Kind) -> str:
    if plain.code != recorded.code:
        return f"exit code {recorded.code}, {plain.code} without recording: {recorded.errors[-300:]!r}"
    if not what.ends and (not plain.weights or plain.weights != recorded.weights):
        return "other weights than without recording"
    return "" if plain.out == recorded.out else f"other output: {recorded.out[-200:]!r}"


def _noise(plain: _Ended, recorded: _Ended) -> str:
    if recorded.errors.count("Traceback") > plain.errors.count("Traceback"):
        return f"a traceback: {recorded.errors[-600:]!r}"
    own = [line for line in recorded.errors.splitlines() if line.startswith("dominance")]
    return f"{len(own)} lines: {own}" if len(own) > 5 else ""


def _left(run: Path, recorded: _Ended, what: Kind) -> tuple[str, int | None]:
    from dominance.store.reader import open_run
    from dominance.store.verify import verify

    judged = judge(run)
    if bad := [f"{command}: {each.wrong}" for command, each in judged.items() if each.wrong]:
        return "; ".join(bad), None
    if what.damages:
        return "", None
    if judged["open_run"].code:
        return "what was left does not open", None
    steps = open_run(run)["step"].values
    if len(steps) and (refused := [command for command, each in judged.items() if each.code]):
        return f"what was left is refused by {refused}", None
    if damage := verify(run):
        return f"damage: {damage[:3]}", None
    if steps.tolist() != list(range(len(steps))):
        return f"steps out of order: {steps[:20]}", None
    lost = recorded.step + 1 - len(steps)
    return ("" if lost >= 0 else "more steps than were taken"), lost


def program(kinds: list[str], trials: int, folder: Path) -> list[Trial]:
    """Every kind that can be tried here, so many times; each is printed."""
    found: list[Trial] = []
    with Forks() as forks:
        for kind in kinds:
            if KINDS[kind].disk and not may_mount():
                print(f"{kind}: not tried, because no disk can be mounted", file=sys.stderr)
                continue
            for number in range(trials):
                place = folder / f"{kind} {number}".replace(" ", "-")
                place.mkdir()
                found.append(trial(forks, kind, number, place))
                shutil.rmtree(place, ignore_errors=True)
                print(*vars(found[-1]).values(), sep="\t", flush=True)
    return found
