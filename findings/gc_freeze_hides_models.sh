#!/usr/bin/env bash
# gc.freeze() (CPython 3.7 to now), which servers and trainers call once their model is made so that collections are
# short: gc.get_objects() lists nothing of what was there, and gc.get_referrers() finds no holder of it, though the
# documentation says of freeze() only that future collections ignore the objects. Tools that ask the collector then
# report that there is no model: pytorch_memlab's MemReporter names no tensor and no total, objgraph counts 0 modules,
# and neither says that something was left out. Only references forwards still lead there.
#
# Seen (CPython 3.11.7, torch 2.13.0, pytorch_memlab 0.3.2, objgraph 3.7.0; a Linear of 64 x 64):
#   before gc.freeze(): objgraph 1 Linear, MemReporter "Total Tensors: 4160"
#   after:              objgraph 0 Linear, MemReporter no tensor and no total; 0 referrers of the weight
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch_memlab==0.3.2 objgraph==3.7.0 setuptools==80.9.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import gc
import io
import re

import objgraph
from pytorch_memlab import MemReporter
from torch import nn

model = nn.Linear(64, 64)


def look():
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        MemReporter().report()
    total = re.search(r"Total Tensors: (\d+)", said.getvalue())
    holders = [each for each in gc.get_referrers(model.weight) if each is model or each is model._parameters]
    return objgraph.count("Linear"), total and int(total[1]), len(holders)


before = look()
gc.freeze()
after = look()
print("Linear, total of MemReporter, holders of the weight: before", before, "after", after)
assert before[:2] == (1, 4160) and before[2] > 0, before
assert after == (0, None, 0), after
assert any(each is model.weight for each in gc.get_referents(model._parameters))
PY
