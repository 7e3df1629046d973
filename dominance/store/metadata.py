"""What the metadata of a run may hold: every value's type, checked here, where a run is opened, and nowhere else.

A run may come from a stranger. Behind this border its names are unique, its numbers in range, its lists as long as each
other, and what its metadata announce is no larger than what a writer makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dominance.errors import BadOption, CorruptRun
from dominance.schema import (
    ATTRIBUTIONS,
    LOSS_SUM,
    MODEL_NUMBER,
    MODEL_OF,
    REMARKS,
    STATE_DOMINATED,
    SWEEPS,
    TRAINING_LINES,
    UNRECORDED,
    validate,
)
from dominance.store.attributes import NAMED
from dominance.store.codec import codec_metadata
from dominance.store.typed import (
    LARGEST,
    Type,
    Unfit,
    anything,
    fields,
    keyed,
    listed,
    maybe,
    names,
    number,
    one_of,
    text,
    truth,
    whole,
)

MOST_METADATA = 1 << 26
"""Bytes of the largest document of metadata that is read."""

LEAST_LENGTH = 2
"""Chunks are not longer than what they are of; but at least that long, where there may be more later."""

_MOST_ROWS = 2**48
_LARGEST_CHUNK = 1 << 26
_ROWS_OF_LARGE_CHUNK = 64  # a writer's chunks are larger than that only where so many rows are

_SHAPE = listed(whole())

_PARAMETER = fields(
    {"name": text, "layer": text, "shape": _SHAPE, "tasks": listed(text)},
    {"module": text, "heads": whole(), "head_dim": whole()},
)

_REQUIRED: dict[str, Type] = {
    "schema_version": whole(1),
    "tasks": names,
    "layers": names,
    "parameters": listed(_PARAMETER),
    "attribution": one_of(*ATTRIBUTIONS),
    "committed_steps": whole(0, _MOST_ROWS),
}

_KEPT: dict[str, Type] = {
    "task_since": listed(whole(0, _MOST_ROWS)),
    "committed_events": whole(0, _MOST_ROWS),
    "refused_steps": whole(),
    "exact": truth,
    "budget": maybe(whole()),
    "status": text,
    "metric_names": fields(dict.fromkeys(NAMED, names)),
}

TOLD: dict[str, Type] = {
    "argv": listed(text),
    "benchmark": maybe(text),
    "method": maybe(text),
    "architecture": maybe(text),
    "ended": maybe(text),
    "failure": maybe(text),
    "git_commit": maybe(text),
    "host": maybe(text),
    "metrics": keyed(keyed(one_of("higher", "lower"))),
    MODEL_NUMBER: whole(1),
    MODEL_OF: listed(text),
    "optimizers": listed(
        fields({"class": text, "groups": listed(keyed(anything))}, {"note": maybe(text), STATE_DOMINATED: truth})
    ),
    "overhead": fields({"seconds": number, "share": number}, {"asked": number}),
    "rank": whole(),
    "ranks": whole(1),
    "recorded_by": maybe(text),
    REMARKS: listed(text),
    "residual_terms": listed(text),
    "sampling": keyed(maybe(number)),
    "schedule": fields({"every": whole(1), "burst": whole(1)}, {"longest_burst": whole(1), "thins": truth}),
    "script": maybe(text),
    "script_path": maybe(text),
    "seed": maybe(whole(-LARGEST, 2**64 - 1)),  # torch's seeds have no sign
    "separate_terms": listed(text),
    "steps_taken": maybe(whole()),
    SWEEPS: listed(
        fields({"by": text}, {"trial": maybe(anything), "name": maybe(text), "parameters": keyed(anything)})
    ),
    "task_weights": keyed(maybe(number)),
    "loss_constants": keyed(number),
    LOSS_SUM: fields(
        {"file": text, "line": whole(1), "tasks": keyed(whole())}, {"lines": listed(text), "each": listed(anything)}
    ),
    TRAINING_LINES: fields(
        {
            "file": text,
            "lines": keyed(text),
            "import_before": whole(1),
            "optimizer": fields(
                {
                    **dict.fromkeys(("class", "variable", "parameters"), text),
                    **dict.fromkeys(("line", "from", "to", "after", "indent"), whole()),
                    **dict.fromkeys(("zeroed", "in_scope"), truth),
                    "end": listed(whole()),
                    "given": listed(text),
                }
            ),
            "backward": fields(dict.fromkeys(("line", "from", "to"), whole())),
            "losses": keyed(text),
            "whole": text,
        }
    ),
    "training": fields(
        {},
        {
            "benchmark": text,
            "method": text,
            "settings": keyed(anything),
            "options": keyed(anything),
            "seed": maybe(whole(-LARGEST)),
            "tasks": listed(text),
        },
    ),
    UNRECORDED: listed(fields({"reason": text, "steps": whole(), "first": whole(-1)})),
    "versions": keyed(maybe(text)),
    "world_size": whole(),
}
"""What a run may say beside what its writer keeps; other names are the user's, and of any type."""


def check_told(attrs: Mapping[str, Any]) -> None:
    """Raise BadOption where an attribute of the user's bears the name of one of ours, and is of another type."""
    try:
        fields({}, TOLD)(attrs, "attrs")
    except Unfit as error:
        raise BadOption(str(error), fix="give it another name: dominance reads this one") from None


def check_root(attributes: Any, where: str) -> dict[str, Any]:
    """The root attributes of a run, checked.

    Raises:
        NotARun: an attribute that every run has is missing.
        SchemaTooNew: a newer dominance wrote it.
        CorruptRun: one has a value that no run has.
    """
    try:
        keyed(anything)(attributes, "attributes")
        attrs: dict[str, Any] = dict(attributes)
        validate(attrs, where)
        fields(_REQUIRED, {**_KEPT, **TOLD})(attrs, "")
        _check_names(attrs)
    except Unfit as error:
        raise CorruptRun(f"{where}: its metadata cannot be used ({error})", fix="record the run again") from None
    return attrs


def _check_names(attrs: dict[str, Any]) -> None:
    """Of attributes whose types are right: what they say of each other."""
    parameters = attrs["parameters"]
    names([parameter["name"] for parameter in parameters], "parameters")
    layers = set(attrs["layers"])
    for place, parameter in enumerate(parameters):
        if parameter["layer"] not in layers:
            raise Unfit(f"parameters[{place}].layer is none of layers")
    if sum(prod(parameter["shape"]) for parameter in parameters) > LARGEST:
        raise Unfit("parameters have more scalars than can be counted")
    if len(attrs.get("task_since", attrs["tasks"])) != len(attrs["tasks"]):
        raise Unfit("task_since is not as long as tasks")


_NAMED = fields({"name": text})

_ARRAY = fields(
    {
        "shape": listed(whole(0, _MOST_ROWS)),
        "data_type": text,
        "chunk_grid": fields({"name": one_of("regular"), "configuration": fields({"chunk_shape": listed(whole(1))})}),
        "chunk_key_encoding": fields(
            {"name": one_of("default")}, {"configuration": fields({}, {"separator": one_of("/", ".")})}
        ),
        "codecs": listed(_NAMED),
        "fill_value": anything,
        "zarr_format": whole(3, 3),
        "node_type": one_of("array"),
    },
    {"attributes": keyed(anything), "storage_transformers": listed(_NAMED), "dimension_names": maybe(listed(text))},
)


def check_array(document: Any, dtype: str, dims: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """Shape and chunk lengths of an array, and what separates numbers in the names of its chunks, of its zarr.json.

    Raises:
        Unfit: it is not of this dtype and number of dims, or its chunks are none of ours.
    """
    _ARRAY(document, "")
    shape = tuple(document["shape"])
    chunk = tuple(document["chunk_grid"]["configuration"]["chunk_shape"])
    if document["data_type"] != dtype or len(shape) != len(dims):
        raise Unfit(f"it is no {dtype} array of {', '.join(dims)}")
    if len(chunk) != len(shape):
        raise Unfit("its chunks have another number of dims")
    if document["codecs"] != codec_metadata(dtype) or document.get("storage_transformers"):
        raise Unfit("its codecs are not those of a run")
    filled = np.dtype(dtype).kind == "f"
    if document["fill_value"] != ("NaN" if filled else -1):
        raise Unfit("its fill_value is not that of a run")
    size = prod(chunk) * np.dtype(dtype).itemsize
    if size >= 2**31 or (chunk[0] > _ROWS_OF_LARGE_CHUNK and size > _LARGEST_CHUNK):
        raise Unfit(f"chunks of {size} bytes are none of ours")
    separator: str = document["chunk_key_encoding"].get("configuration", {}).get("separator", "/")
    return shape, chunk, separator


def check_coordinates(coordinates: Mapping[str, npt.NDArray[Any]], parameters: Sequence[Any], where: str) -> None:
    """Raise CorruptRun unless every coordinate lies in one of the parameters."""
    code, index, weight = (coordinates[name] for name in ("parameter", "index", "weight"))
    sizes = np.array([prod(parameter.shape) for parameter in parameters], np.int64)
    wrong = ""
    if not code.size == index.size == weight.size:
        wrong = f"{code.size} codes, {index.size} indices and {weight.size} weights"
    elif code.size and not 0 <= code.min() <= code.max() < len(sizes):
        wrong = f"a code of a parameter that lies outside of the {len(sizes)} there are"
    elif code.size and (index.min() < 0 or np.any(index >= sizes[code])):
        wrong = "an index that lies outside of its parameter"
    elif not np.all(np.isfinite(weight)):
        wrong = "a weight that is no number"
    if wrong:
        raise CorruptRun(f"{where}: coord cannot be used ({wrong})", fix="record the run again")


def check_codes(name: str, codes: npt.NDArray[Any], count: int, where: str) -> None:
    """Raise CorruptRun unless each of the codes in metric/* stands for one of ``count`` names, or is -1 for none."""
    if codes.size and not -1 <= codes.min() <= codes.max() < count:
        wrong = f"a code outside of the {count} names there are"
        raise CorruptRun(f"{where}: metric/{name} cannot be used ({wrong})", fix="record the run again")
