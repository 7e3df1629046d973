#!/usr/bin/env bash
# torch 2.13.0, torch.hash_tensor, the one call that torch has to tell whether tensors are the same without comparing
# them (replicas, a restored checkpoint, a frozen trunk). It is documented as "reduction via xor" of the elements, and
# what that means for weights is easily missed: bits that an even number of elements have in common cancel. A tensor of
# an even number of elements has the hash of its own negative; a layer norm's weights (ones) have that of its biases
# (zeros); rows in another order, or a matrix the other way round, have the same; what is repeated has none, so a table
# whose rows all became one row hashes as one of zeros does. A hash over names and bytes tells all of these apart.
#
# Seen (torch 2.13.0), hash equal: x and -x (64 x 64): yes; ones and zeros (256): yes, both 0; x and x with its rows
#   reversed: yes; x and x.T: yes; one row four times and zeros: yes. x and x + 1e-7 in one element: no
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import hashlib

import torch

x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
norm, nudged = torch.nn.LayerNorm(256), x.clone()
nudged[0, 0] += 1e-7 * nudged[0, 0].abs().clamp(min=1)
row = torch.randn(1, 64, generator=torch.Generator().manual_seed(1)).repeat(4, 1)
pairs = {
    "x and -x": (x, -x),
    "a layer norm's weights and its biases": (norm.weight.detach(), norm.bias.detach()),
    "x and its rows reversed": (x, x.flip(0)),
    "x and x.T": (x, x.T.contiguous()),
    "one row four times and zeros": (row, torch.zeros(4, 64)),
    "x and x with one element a little larger": (x, nudged),
}
same = {}
for name, (a, b) in pairs.items():
    by_bytes = hashlib.sha256(a.numpy().tobytes()).digest() == hashlib.sha256(b.numpy().tobytes()).digest()
    same[name] = int(torch.hash_tensor(a)) == int(torch.hash_tensor(b))
    print(f"{name}: hash_tensor {'the same' if same[name] else 'different'}, bytes {'the same' if by_bytes else 'different'}")
    assert not by_bytes and not torch.equal(a, b)
assert [*same.values()] == [True, True, True, True, True, False]
assert int(torch.hash_tensor(norm.weight)) == 0
PY
