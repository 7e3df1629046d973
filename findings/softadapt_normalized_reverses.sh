#!/usr/bin/env bash
# softadaptx 0.0.1, NormalizedSoftAdapt: beta > 0 is documented to pay more attention to the worst performing loss. The
# slopes are divided by their signed sum, and that sum is negative whenever the losses fall as a whole, which is what
# training is: the order turns round, and the loss that falls fastest gets the larger weight. Should one loss rise and
# the other fall at nearly the same rate, the sum is near 0 and one loss gets everything, from one call to the next the
# other one. SoftAdapt, the variant beside it, does as documented on the same numbers.
#
# Seen (softadaptx 0.0.1, numpy 2.4.6; beta 5; "stuck" falls by 0.1 a step, "good" by 1):
#   SoftAdapt            stuck 0.99, good 0.01        NormalizedSoftAdapt   stuck 0.02, good 0.98
#   good falls by 1, bad rises by 0.99: NormalizedSoftAdapt gives bad 0.00; bad rises by 1.01: bad 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet softadaptx==0.0.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from softadaptx import NormalizedSoftAdapt, SoftAdapt


def line(slope):
    return 50 + slope * np.arange(5.0)


def weights(kind, *slopes):
    return kind(beta=5).get_component_weights(*map(line, slopes), verbose=False)


stuck, good = weights(SoftAdapt, -0.1, -1)
print(f"SoftAdapt:           stuck {stuck:.2f}, good {good:.2f}")
assert stuck > 0.9
stuck, good = weights(NormalizedSoftAdapt, -0.1, -1)
print(f"NormalizedSoftAdapt: stuck {stuck:.2f}, good {good:.2f}")
assert good > 0.9
shares = [float(weights(NormalizedSoftAdapt, rise, -1)[0]) for rise in (0.99, 1.01)]
print("NormalizedSoftAdapt, good falls by 1, bad rises by 0.99 or 1.01: bad gets", [round(s, 2) for s in shares])
assert shares[0] < 0.01 and shares[1] > 0.99
PY
