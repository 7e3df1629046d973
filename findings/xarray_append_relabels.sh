#!/usr/bin/env bash
# xarray 2026.9.0, Dataset.to_zarr(append_dim=...): labels of the other dimensions are not looked at. The values are
# appended by position, and the labels in the store are overwritten with the newcomer's: if it has the same tasks in
# another order, what was stored before changes hands, without a word. (mode="a-" keeps the labels: then what is
# appended stands under wrong ones.) xarray.concat on the same two aligns them by label.
#
# Seen (xarray 2026.9.0, zarr 3.1.6): losses of "depth" are 1 and 10, of "normal" 2 and 20
#   concat                  depth [1, 10]   normal [2, 20]
#   append                  depth [2, 10]   normal [1, 20]
#   append, mode="a-"       depth [1, 20]   normal [2, 10]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xarray==2026.9.0 zarr==3.1.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import xarray


def losses(values, tasks):
    return xarray.Dataset({"loss": (("step", "task"), [values])}, {"task": tasks})


first, second = losses([1.0, 2.0], ["depth", "normal"]), losses([20.0, 10.0], ["normal", "depth"])


def by_task(run):
    return {name: run.loss.sel(task=name).values.tolist() for name in ("depth", "normal")}


def appended(name, **how):
    first.to_zarr(name, consolidated=False)
    second.to_zarr(name, append_dim="step", consolidated=False, **how)
    return by_task(xarray.open_zarr(name, consolidated=False))


expected = by_task(xarray.concat([first, second], "step"))
plain, kept = appended("plain.zarr"), appended("kept.zarr", mode="a-")
print("concat            ", expected)
print("append            ", plain)
print("append, mode='a-' ", kept)
assert expected == {"depth": [1, 10], "normal": [2, 20]}
assert plain == {"depth": [2, 10], "normal": [1, 20]}
assert kept == {"depth": [1, 20], "normal": [2, 10]}
PY
