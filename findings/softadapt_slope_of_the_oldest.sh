#!/usr/bin/env bash
# softadaptx 0.0.1: "the rate of change" of a loss is that of the OLDEST value given. Finite differences over the last
# n values use the forward scheme, whose slope is taken where the n values start; the weights answer to what the loss
# did n - 1 calls ago, and more values, which are said to be more accurate, make it worse. A loss that fell and now
# rises is taken for the best one. One would expect, as in the paper, the slope at the newest value. (softadapt 0.2.0,
# the Keras package of 2026, has the same scheme in its source.)
#
# Seen (softadaptx 0.0.1, numpy 2.4.6; beta 1, "pay attention to the worst"; A = 9 4 1 0 1 4, B = 0 5 8 9 8 5: A rises
# now and B falls), weight of A, from the last n values:
#   n = 2: 1.00     n = 3: 0.50     n = 4 or more: 0.02 or less
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet softadaptx==0.0.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from softadaptx import SoftAdapt

rising = np.array([9.0, 4, 1, 0, 1, 4])  # (t - 3)^2: its slope is 4 at the end, -6 at the start
falling = 9 - rising


def weight_of_the_rising(n):
    return float(SoftAdapt(beta=1).get_component_weights(rising[-n:], falling[-n:], verbose=False)[0])


found = {n: weight_of_the_rising(n) for n in range(2, 7)}
print("weight of the loss that rises now, from the last n values:", {n: round(w, 3) for n, w in found.items()})
assert found[2] > 0.95
assert all(found[n] < 0.05 for n in (4, 5, 6))
PY
