from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from runs import make_run

from dominance import rau_buckets
from dominance.analyse.groups import KINDS, group, kind, strata
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

BOTH = ("a", "b")
PARAMETERS = [
    Parameter("users.weight", "users", (3,), BOTH, "Embedding"),
    Parameter("items.weight", "items", (2,), BOTH, "Embedding"),
    Parameter("trunk.0.weight", "trunk.0", (4,), BOTH, "Linear"),
    Parameter("trunk.0.bias", "trunk.0", (2,), BOTH, "Linear"),
    Parameter("head.weight", "head", (2,), ("a",), "Linear"),
    Parameter("trunk.1.weight", "trunk.1", (1,), BOTH, "LayerNorm"),
    Parameter("scale", "scale", (1,), BOTH, "Tensor"),
]
NAMES = [each.name for each in PARAMETERS if each.shared]


def run_of(parameters: list[Parameter] = PARAMETERS) -> xr.DataTree:
    return make_run(np.ones((1, 2, sum(each.shape[0] for each in parameters))), parameters=parameters)


def grouped(by: Any, run: xr.DataTree | None = None) -> dict[Any, list[str]]:
    """The names of the parameters of each group, in order; None: of no group."""
    run = run_of() if run is None else run
    parts = strata(run, run["shared"].to_numpy())
    labels, of = group(by, parts, run.attrs["layers"])
    found = {label: parts.parameter[of == i].tolist() for i, label in enumerate(labels)}
    outside = parts.parameter[of < 0].tolist()
    assert parts.outside(of) == len(outside)
    return found | ({None: outside} if outside else {})


def test_words() -> None:
    assert grouped("all") == {"all shared": NAMES}
    assert grouped("parameter") == {name: [name] for name in NAMES}
    assert list(grouped("layer")) == ["users", "items", "trunk.0", "trunk.1", "scale"]
    assert grouped("layer")["trunk.0"] == ["trunk.0.weight", "trunk.0.bias"]


def test_embeddings_apart_from_linear_layers() -> None:
    assert grouped("kind") == {
        "embedding": ["users.weight", "items.weight"],
        "mlp": ["trunk.0.weight", "trunk.0.bias"],
        "norm": ["trunk.1.weight"],
        "other": ["scale"],
    }
    found = rau_buckets(run_of(), by="kind")
    assert found.layer.values.tolist() == ["embedding", "mlp", "norm", "other"]
    assert (found.attrs["by"], found.attrs["parameters_left_out"]) == ("kind", 0)


@pytest.mark.parametrize(
    ("module", "of"),
    [
        ("Embedding", "embedding"), ("EmbeddingBag", "embedding"), ("Linear", "mlp"), ("Bilinear", "mlp"),
        ("Conv1d", "conv"), ("ConvTranspose3d", "conv"), ("BatchNorm2d", "norm"), ("SyncBatchNorm", "norm"),
        ("LayerNorm", "norm"), ("GroupNorm", "norm"), ("RMSNorm", "norm"), ("InstanceNorm1d", "norm"),
        ("LSTM", "recurrent"), ("GRUCell", "recurrent"), ("MultiheadAttention", "attention"),
        ("NonDynamicallyQuantizableLinear", "attention"), ("Module", "other"), ("PReLU", "other"), ("Tensor", "other"),
        ("ParameterList", "other"), ("", ""),
    ],
)  # fmt: skip
def test_kinds(module: str, of: str) -> None:
    assert kind(module) == of
    assert of in (*KINDS, "")


def test_every_layer_of_torch_with_parameters_has_the_kind_that_a_person_expects() -> None:
    nn = pytest.importorskip("torch").nn
    classes = [each for each in vars(nn).values() if isinstance(each, type) and issubclass(each, nn.Module)]
    names = {each.__name__ for each in classes if not each.__name__.startswith(("Lazy", "Cosine"))}
    of: dict[str, set[str]] = {each: {name for name in names if kind(name) == each} for each in KINDS}
    assert of["embedding"] == {"Embedding", "EmbeddingBag"}
    assert of["mlp"] == {"Linear", "Bilinear"}
    assert of["conv"] == {f"Conv{middle}{d}d" for middle in ("", "Transpose") for d in (1, 2, 3)}
    assert of["recurrent"] | {"RNNBase", "RNNCellBase"} == {name for name in names if "RNN" in name} | {
        name for name in names if "LSTM" in name or "GRU" in name
    }


def test_a_run_that_does_not_know_its_modules() -> None:
    old = [Parameter("emb.weight", "emb", (2,), BOTH), Parameter("fc.weight", "fc", (2,), BOTH)]
    with pytest.raises(NothingRecorded, match=r"kind of the module of emb.weight was not recorded.*by=\{"):
        grouped("kind", run_of(old))
    run = run_of(old)
    for each in run.attrs["parameters"]:
        del each["module"]  # as it was written before
    with pytest.raises(NothingRecorded, match="was not recorded"):
        rau_buckets(run, by="kind")
    assert grouped({"embedding": "*emb*"}, run) == {"embedding": ["emb.weight"], None: ["fc.weight"]}


def test_globs() -> None:
    assert grouped(["trunk.*", "users*"]) == {
        "trunk.*": ["trunk.0.weight", "trunk.0.bias", "trunk.1.weight"],
        "users*": ["users.weight"],
        None: ["items.weight", "scale"],
    }
    assert grouped(("*.weight",))[None] == ["trunk.0.bias", "scale"]
    assert grouped({"mlp": ["trunk.0", "scale"], "embedding": ("users*", "items*")}) == {
        "mlp": ["trunk.0.weight", "trunk.0.bias", "scale"],  # a module's name, and a parameter's
        "embedding": ["users.weight", "items.weight"],
        None: ["trunk.1.weight"],
    }
    assert grouped({"bias": "*.bias", "rest": ["*weight", "sca?e"]})["rest"][-1] == "scale"
    found = rau_buckets(run_of(), by={"mlp": "trunk.*"})
    assert (found.attrs["by"], found.attrs["parameters_left_out"]) == ("custom", 3)
    assert found.layer.values.tolist() == ["mlp"]


def test_one_label_may_have_two_globs_that_fit() -> None:
    assert grouped({"mlp": ["trunk.*", "*.bias"]})["mlp"] == ["trunk.0.weight", "trunk.0.bias", "trunk.1.weight"]


def test_names_to_labels() -> None:
    assert grouped({"trunk.0.bias": "x", "scale": "y", "trunk.1.weight": "x"}) == {
        "x": ["trunk.0.bias", "trunk.1.weight"],
        "y": ["scale"],
        None: ["users.weight", "items.weight", "trunk.0.weight"],
    }
    assert grouped({"trunk.0.weight": "trunk.0", "trunk.1.weight": 1})[1] == ["trunk.1.weight"]


def test_functions() -> None:
    assert list(grouped(lambda name: name.split(".")[-1])) == ["weight", "bias", "scale"]
    assert grouped(lambda name: 0 if "bias" in name else None)[0] == ["trunk.0.bias"]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("module", r'by=\'module\' is unknown; say "layer", "parameter", "kind" or "all", or give a list of globs'),
        ("trunk.*", "is unknown.*list of globs"),
        (["conv*"], r"no shared parameter fits 'conv\*'"),
        (["head*"], r"no shared parameter fits 'head\*'"),
        ({"mlp": ["trunk.*", "deep.*"]}, r"no shared parameter fits 'deep\.\*'"),
        ({"nonsense": "x"}, "no shared parameter fits 'x'"),
        ({"nonsense": 3}, "'nonsense' is no shared parameter and 3 is no glob"),
        ({"scale": "x", "trunk.0.wieght": "y"}, "'trunk.0.wieght' is no shared parameter"),
        (["trunk.*", "*.bias"], r"trunk.0.bias fits both 'trunk.\*' and '\*.bias'; narrow one"),
        ({"scale": "trunk.*"}, r"'trunk.\*' would be a label; if it is a glob, put it into a list"),
        (lambda name: None, "leaves no parameter"),
        ([], "leaves no parameter"),
        ({}, "leaves no parameter"),
    ],
)
def test_what_cannot_be_grouped(by: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        grouped(by)


def test_a_list_says_that_it_is_a_glob() -> None:
    assert grouped({"scale": ["trunk.*"]})["scale"] == ["trunk.0.weight", "trunk.0.bias", "trunk.1.weight"]


def test_a_parameter_sampled_at_two_rates_is_one_parameter() -> None:
    run = make_run(np.ones((1, 2, 4)), parameters=[Parameter("w", "w", (6,), BOTH)], coord_weight=[1, 1, 2, 2])
    parts = strata(run, run["shared"].to_numpy())
    assert parts.parameter.tolist() == ["w", "w"]
    assert parts.outside(np.array([-1, -1])) == 1
