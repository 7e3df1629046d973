"""Files for a paper: the same bytes whenever they are written, fonts inside, nothing drawn as pixels."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from plots.samples import SAMPLES

WRITTEN = ("rau_buckets", "tci_gcd", "table")
TESTS = Path(__file__).parents[1]


def write(folder: str) -> None:
    for name in WRITTEN:
        made = SAMPLES[name]()
        for ending in ("pdf", "svg", "png"):
            made.savefig(Path(folder) / f"{name}.{ending}")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What this process writes."""
    folder = tmp_path_factory.mktemp("here")
    write(str(folder))
    return folder


def test_the_same_bytes_in_every_process_at_every_time(here: Path, tmp_path: Path):
    """In this process, and in one that hashes otherwise, is elsewhere and believes in another date."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    other = {"PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1700000000", "PYTHONPATH": path}
    code = f"from plots.test_files import write; write({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | other)
    first, second = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in (here, tmp_path))
    assert len(first) == len(second) == 3 * len(WRITTEN)
    assert [name for name in first if first[name] != second[name]] == []
    for name, content in first.items():
        assert b"CreationDate" not in content, name
        assert b"dc:date" not in content, name


def objects(pdf: bytes) -> str:
    """All that is said in the file: its objects, and what streams hold."""
    streams = []
    for body in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, flags=re.DOTALL):
        try:
            streams.append(zlib.decompress(body))
        except zlib.error:
            continue  # not a compressed one
    return b"\n".join([pdf, *streams]).decode("latin-1")


@pytest.mark.parametrize("name", WRITTEN)
def test_a_pdf_is_drawn_in_lines_with_its_fonts_inside(name: str, here: Path):
    said = objects((here / f"{name}.pdf").read_bytes())
    fonts = said.count("/Type /FontDescriptor")
    assert fonts >= 1
    assert said.count("/FontFile2") == fonts  # TrueType, embedded
    assert "/Type3" not in said
    assert "/Subtype /Image" not in said
    assert "Tj" in said or "TJ" in said  # words can be searched and copied


def test_the_check_can_fail(tmp_path: Path):
    with rc_context({"pdf.fonttype": 3}):
        figure = Figure()
        figure.text(0.5, 0.5, "letters as drawings")
        figure.savefig(tmp_path / "x.pdf")
    assert "/Type3" in objects((tmp_path / "x.pdf").read_bytes())
