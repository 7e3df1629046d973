#!/usr/bin/env bash
# accelerate 1.15.0, gather_for_metrics(), two prepared loaders read side by side, as tasks are: what is gathered is
# cut to the last batch of the loader that was begun last, whichever loader it came from. When that one ends, the
# other task's batch loses all rows past the remainder, in one process too, where nothing was added that would have to
# go. The order of the loaders in zip() decides who loses rows; the metric is of fewer rows, and nothing is said.
#
# Seen (accelerate 1.15.0, torch 2.13.0; one process, batches of 4; rows gathered of each loader):
#   a of 12 rows, b of 9: zip(a, b)    a 9 of 12    b 9 of 9
#                         zip(b, a)    a 12 of 12   b 9 of 9
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
from accelerate import Accelerator
from torch.utils.data import DataLoader

accelerator = Accelerator(cpu=True)
rows = {"a": list(range(12)), "b": list(range(100, 109))}


def gathered(order):
    """The rows of each loader that reach a metric, the loaders read side by side in this order."""
    loaders = accelerator.prepare(*(DataLoader(rows[name], batch_size=4) for name in order))
    seen = {name: [] for name in order}
    for batches in zip(*loaders, strict=True):
        for name, batch in zip(order, batches, strict=True):
            seen[name] += accelerator.gather_for_metrics(batch).tolist()
    return seen


for order in ("ab", "ba"):
    seen = gathered(order)
    print(f"zip({', '.join(order)}):", {name: f"{len(seen[name])} of {len(rows[name])}" for name in "ab"}, seen["a"])
    assert accelerator.num_processes == 1 and seen["b"] == rows["b"]
    assert seen["a"] == (rows["a"][:9] if order == "ab" else rows["a"])
PY
