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
WRITE = """
import sys
from pathlib import Path
from plots.samples import SAMPLES

for name in sys.argv[2:]:
    made = SAMPLES[name]()
    for ending in ("pdf", "svg", "png"):
        made.savefig(Path(sys.argv[1]) / f"{name}.{ending}")
"""


def test_the_same_bytes_in_every_process_at_every_time(tmp_path: Path):
    """Two processes that hash otherwise, in other time zones and locales, and believe in other dates."""
    found = []
    for number, (zone, date) in enumerate((("UTC", "0"), ("Asia/Tokyo", "1700000000"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {"PYTHONHASHSEED": str(number), "TZ": zone, "SOURCE_DATE_EPOCH": date, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", WRITE, str(folder), *WRITTEN], check=True, env=os.environ | environment)
        found.append({file.name: file.read_bytes() for file in folder.iterdir()})
    first, second = found
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
def test_a_pdf_is_drawn_in_lines_with_its_fonts_inside(name: str, tmp_path: Path):
    (file,) = SAMPLES[name]().savefig(tmp_path / f"{name}.pdf")
    said = objects(file.read_bytes())
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
