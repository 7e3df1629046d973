"""Recording at an address: into a folder of this machine, of which a process of its own keeps a copy there."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from dominance.errors import BadOption
from dominance.record.own_process import OwnProcess

BEGINS = 60.0
"""Seconds for the store to say whether it can be written."""
ENDS = 60.0
"""Seconds that the end of a training waits for what is not there yet."""


class Mirrored:
    """A run directory of this machine that is kept at an address, too.

    Args:
        address: such as "s3://bucket/runs/first".
        replace: a run that is there is replaced.

    Attributes:
        address: as given, without a slash at its end.
        path: the folder to record into.

    Raises:
        BadOption: the address cannot be written, or another recording writes there, or a run is there already.
    """

    def __init__(self, address: str, *, replace: bool) -> None:
        self.address = address.rstrip("/")
        self._folder = Path(tempfile.mkdtemp(prefix="dominance-"))
        self.path = self._folder / self.address.rpartition("/")[2]
        try:
            self._begin(["--force"] if replace else [])
        except BaseException:
            shutil.rmtree(self._folder)
            raise

    def _begin(self, flags: list[str]) -> None:
        try:
            self._apart = OwnProcess("dominance.store.upload", [str(self._folder), self.address, *flags])
        except (OSError, subprocess.SubprocessError) as error:
            raise BadOption(f"{self.address}: nothing can be sent ({error})", fix="record into a folder") from None
        said = self._apart.line(BEGINS)
        if said == "ready":
            return
        self._apart.end()
        if not said:
            said = json.dumps({"refused": f"{self.address}: does not answer", "fix": "record into a folder"})
        try:
            refused = json.loads(said)
            raise BadOption(refused["refused"], fix=refused["fix"])
        except json.JSONDecodeError:
            raise BadOption(f"{self.address}: {said}", fix="record into a folder") from None

    def finish(self) -> list[str]:
        """The run is over; what there is to say once all of it is at the address, or after ENDS."""
        self._apart.end()
        said = self._apart.rest(ENDS)
        if said is None:
            return [f"{self.address}: the rest of the run is still being written, from {self.path}"]
        return said[-1:]
