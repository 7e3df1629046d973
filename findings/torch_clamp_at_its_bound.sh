#!/usr/bin/env bash
# torch 2.15.0 beside 2.13.0, the gradient of clamp where a number lies exactly on the bound: it was 1 and is 0
# (2.14.1 has it already); with a tensor for the bound it was 1 and is 1/2. torch.maximum, relu and amax are as they were,
# so that clamp(x, min=0) and maximum(x, 0), the same function, went from 1 and 1/2 to 0 and 1/2. Nothing is said.
# Numbers lie on a bound by construction: zero-initialised parameters, padded places, log-variances that start at their
# floor, the start (0, 0) of the two-task toy problem of the literature, whose losses are made of max(tanh(x), 0): with
# 1 it can leave, with 0 every task's gradient is zero and the training stands still from its first step to its last.
#
# Seen: gradient at the bound, 2.13.0 / 2.15.0: clamp(min=0) 1 / 0, clamp(min=tensor) 1 / 0.5, clamp(max=0) 1 / 0,
#   maximum 0.5 / 0.5, relu 0 / 0; 100 steps of descent on tanh(x / 2).clamp(min=0) * -1 from 0: moves / stands
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_CONSTRAINT=/dev/null  # a machine's own limits on versions are no part of this
cat > "$folder/look.py" <<'PY'
import json

import torch

KINDS = {
    "clamp(min=0)": lambda x: x.clamp(min=0),
    "clamp(min=tensor)": lambda x: x.clamp(min=torch.zeros_like(x)),
    "clamp(max=0)": lambda x: x.clamp(max=0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "relu": torch.relu,
}
found = {}
for name, function in KINDS.items():
    x = torch.zeros(1, requires_grad=True)
    function(x).sum().backward()
    found[name] = x.grad.item()
x = torch.zeros(1, requires_grad=True)
descent = torch.optim.SGD([x], lr=0.1)
for _ in range(100):
    descent.zero_grad()
    (-torch.tanh(x / 2).clamp(min=0)).sum().backward()
    descent.step()
found["moves"] = x.item() != 0
print(json.dumps(found))
PY
for version in 2.13.0 2.15.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet "torch==$version" numpy==2.4.6
    (cd "$folder" && "$version/bin/python" -W error look.py > "$version.json")
    echo "torch $version: $(cat "$folder/$version.json")"
done
python3 - "$folder" <<'PY'
import json
import pathlib
import sys

before, after = (json.loads((pathlib.Path(sys.argv[1]) / f"{v}.json").read_text()) for v in ("2.13.0", "2.15.0"))
assert before == {"clamp(min=0)": 1, "clamp(min=tensor)": 1, "clamp(max=0)": 1, "maximum": 0.5, "relu": 0, "moves": True}
assert after == {"clamp(min=0)": 0, "clamp(min=tensor)": 0.5, "clamp(max=0)": 0, "maximum": 0.5, "relu": 0, "moves": False}
PY
