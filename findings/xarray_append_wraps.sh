#!/usr/bin/env bash
# xarray 2026.9.0, Dataset.to_zarr(append_dim=...): what is appended is cast to the type in the store, whatever is
# lost. Integers wrap round, in silence; so do floats that the store keeps as scaled integers, where a small negative
# value can also become the mark for "missing". For strings the same is an error ("Mismatched dtypes"), so one would
# expect one.
#
# Seen (xarray 2026.9.0, zarr 3.1.6), no warning but zarr's about consolidated metadata:
#   int8 store, int64 [300, 40000] appended:                            [44, 64]
#   int16 store at scale 0.01, missing -1, [400.0, -0.01] appended:     [-255.36, nan]
#   string store of width 2, "abcdef" appended:                         ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xarray==2026.9.0 zarr==3.1.6 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import xarray
from zarr.errors import UnstableSpecificationWarning

warnings.simplefilter("error")
warnings.simplefilter("ignore", UnstableSpecificationWarning)


def after_append(name, stored, appended, **encoding):
    stored, appended = (xarray.Dataset({"x": ("step", np.asarray(v))}) for v in (stored, appended))
    stored.to_zarr(name, encoding={"x": encoding} if encoding else None, consolidated=False)
    appended.to_zarr(name, append_dim="step", consolidated=False)
    return xarray.open_zarr(name, consolidated=False).x.values[stored.sizes["step"] :]


whole = after_append("whole.zarr", np.array([1, 2], "int8"), np.array([300, 40000]))
scaled = after_append("scaled.zarr", [1.0], [400.0, -0.01], dtype="int16", scale_factor=0.01, _FillValue=-1)
try:
    after_append("text.zarr", ["ab"], ["abcdef"])
    text = "nothing said"
except ValueError as error:
    text = f"ValueError: {error}"
print("int8 store, [300, 40000] appended:", whole.tolist())
print("int16 store at scale 0.01, [400.0, -0.01] appended:", scaled.tolist())
print("string store:", text)
assert whole.tolist() == [44, 64]
assert abs(scaled[0] + 255.36) < 1e-9 and np.isnan(scaled[1])
assert text.startswith("ValueError: Mismatched dtypes")
PY
