#!/usr/bin/env bash
# torch, DistributedDataParallel.register_comm_hook: a hook whose parameter is annotated as documented is rejected in
# every file that begins with `from __future__ import annotations`, where annotations are kept as text: it is compared
# with the class by identity, and the message asks for the annotation that stands there. Without any annotation the same
# hook is taken.
#
# Seen (torch 2.13.0, gloo, one process, Python 3.11):
#   bucket: dist.GradBucket                             taken
#   the same after `from __future__ import annotations`  ValueError: ... bucket annotation should be dist.GradBucket.
#   no annotation, after the same import                taken
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.5
cat > "$folder/try.py" <<'PY'
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

HOOK = """
import torch.distributed as dist
def hook(state, bucket{annotation}):
    return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda f: f.value()[0])
"""
FUTURE = "from __future__ import annotations"


def register(before, annotation):
    names = {}
    exec(compile(before + HOOK.format(annotation=annotation), "hooks.py", "exec", dont_inherit=True), names)
    net = DistributedDataParallel(nn.Linear(2, 1))
    try:
        net.register_comm_hook(None, names["hook"])
        net(torch.ones(1, 2)).sum().backward()
        return "taken"
    except ValueError as error:
        return str(error).replace("\n", " ")[-60:]


dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/store", rank=0, world_size=1)
found = [register("", ": dist.GradBucket"), register(FUTURE, ": dist.GradBucket"), register(FUTURE, "")]
for line in found:
    print(line)
sys.exit(not (found[0] == found[2] == "taken" and "should be dist.GradBucket" in found[1]))
PY
OMP_NUM_THREADS=1 "$folder/venv/bin/python" "$folder/try.py" "$folder"
