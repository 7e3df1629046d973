"""PUB's tables of scores: AliExpress (III, IV) and NYUv2 (VII), which cannot be shipped, and what stands in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import xarray as xr

from dominance.papers.adatask.real_data import rows
from dominance.papers.item import Claim, Judgement
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.paired import AT_LEAST, by_seed, gain, points, sure
from dominance.papers.presets import EXPERTS, PRESETS, QUESTIONS, ROOMS, SEARCHED, SELDOM
from dominance.papers.score_claims import averages, best_in, improve, means
from dominance.papers.scoreboard import Board, Row, faster
from dominance.papers.values import AVERAGE

PAPER = "PUB"
STL = "STL"
IN_LOGS = (
    "The paper's data is AliExpress of four countries (--data aliexpress=DIR, one of them; published: ES). In its place"
    " stands KDD Census-Income with two questions with yes or no."
)
AUCS = (("CTR", "auc"), ("CTCVR", "auc"), (AVERAGE, "auc"))
FASTER = "MMOE, K x rate (ours)"
BACKBONES = " With MMOE; with PLE on the paper's data, and at full scale."
PLE = {
    "PLE": ("equal-weight", (0.7306, 0.8930, 0.8118)),
    "PLE + MGDA": ("mgda", (0.7278, 0.8928, 0.8103)),
    "PLE + NashMTL": ("nash-mtl", (0.7292, 0.8929, 0.8111)),
    "PLE + IMTL-G": ("imtl-g", (0.7304, 0.8897, 0.8101)),
    "PLE + PCGrad": ("pcgrad", (0.7295, 0.8930, 0.8113)),
    "PLE + CAGrad": ("cagrad", (0.7304, 0.8950, 0.8127)),
    "PLE + Uncertainty": ("uw", (0.7291, 0.8932, 0.8112)),
    "PLE + BanditMTL": ("bandit-mtl", (0.7292, 0.8936, 0.8114)),
    "PLE + FAMO": ("famo", (0.7307, 0.8870, 0.8089)),
    "PLE + ClippyAdam": ("clippy", (0.7311, 0.8918, 0.8114)),
    "PLE + AdaTask": ("adatask", (0.7315, 0.8929, 0.8122)),
    "PLE + PUB": ("pub", (0.7318, 0.8965, 0.8142)),
}
"""Table III, its other backbone."""
LOGS = PRESETS[PAPER, "aliexpress"]
EVERY = {"every": SEARCHED}
CLIPPED = {"lambda_abs": 1e-4}
"""Of Clippy. With its usual 0.01 no step of Adam at a learning rate of 1e-3 is ever clipped: see ``binds``. With 1e-4
two thirds of the tensors are, in the first steps on made-up logs. The text does not say which it takes."""
USUAL_BOUND = 0.01
LONGEST = 0.1 / (0.001 * (1 - 0.81 / 0.999)) ** 0.5
"""What |m| / sqrt(v) of Adam cannot exceed, by the inequality of Cauchy and Schwarz over all gradients there were."""


def _options(method: str) -> dict[str, Any]:
    return {**(EVERY if "pub" in method else {}), **(CLIPPED if "clippy" in method else {})}


def _row(
    label: str, method: str, backbone: str, published: tuple[float, ...], when: Literal["always", "full"] = "always"
) -> Row:
    """On AliExpress with the paper's counts of experts."""
    how: dict[str, Any] = {"method": method, "architecture": backbone}
    if options := _options(method):
        how["options"] = options
    against = None if label == STL else STL
    return Row(label, how, against, published, {"architecture": EXPERTS[backbone]}, when)


MMOE = tuple(_row(label, method, "mmoe", published) for label, (method, published) in {
    STL: ("stl", (0.7252, 0.8832, 0.8042)),
    "MMOE": ("equal-weight", (0.7290, 0.8959, 0.8124)),
    "MMOE + MGDA": ("mgda", (0.7294, 0.8901, 0.8098)),
    "MMOE + NashMTL": ("nash-mtl", (0.7285, 0.8957, 0.8121)),
    "MMOE + IMTL-G": ("imtl-g", (0.7275, 0.8922, 0.8098)),
    "MMOE + PCGrad": ("pcgrad", (0.7301, 0.8915, 0.8108)),
    "MMOE + CAGrad": ("cagrad", (0.7296, 0.8934, 0.8115)),
    "MMOE + Uncertainty": ("uw", (0.7286, 0.8932, 0.8109)),
    "MMOE + BanditMTL": ("bandit-mtl", (0.7292, 0.8949, 0.8120)),
    "MMOE + FAMO": ("famo", (0.7295, 0.8941, 0.8118)),
    "MMOE + ClippyAdam": ("clippy", (0.7303, 0.8931, 0.8117)),
    "MMOE + AdaTask": ("adatask", (0.7306, 0.8917, 0.8111)),
    "MMOE + PUB": ("pub", (0.7323, 0.8967, 0.8145)),
}.items())  # fmt: skip
TABLE3 = Board(
    "pub-table3", PAPER, "Table III", "AUC by method and backbone",
    rows=(
        *MMOE,
        *(_row(label, method, "ple", published, "full") for label, (method, published) in PLE.items()),
        replace(faster(FASTER, STL, architecture="mmoe"), how_own={"architecture": EXPERTS["mmoe"]}),
    ),
    kind="pub", preset=LOGS, columns=AUCS, stand_in=QUESTIONS,
    stands_for=IN_LOGS + BACKBONES, hero="MMOE + PUB", rivals=tuple(row.label for row in MMOE),
    says="PUB has the best average AUC of all methods (0.8145 against 0.8124 of MMOE, ES)",
)  # fmt: skip


def _manipulated(backbone: str, label: str, method: str, published: tuple[float, ...], **options: int) -> Row:
    when: Literal["always", "full"] = "full" if backbone == "PLE" else "always"
    one = _row(f"{backbone}{label}", method, backbone.lower(), published, when)
    how = {**one.how, "options": {**_options(method), **options}} if method != "equal-weight" else one.how
    return replace(one, how=how, against=backbone if label else None)


MANIPULATED = (
    _manipulated("MMOE", "", "equal-weight", (0.7290, 0.8959, 0.8124)),
    _manipulated("MMOE", " + PUB", "pub", (0.7316, 0.8952, 0.8134)),
    _manipulated("MMOE", " + PUB + Clippy", "pub+clippy", (0.7329, 0.8954, 0.8145)),
    _manipulated("MMOE", " + PUB + AdaTask", "pub+adatask", (0.7320, 0.8962, 0.8141)),
    _manipulated("MMOE", " + PUB (s = 100)", "pub", (), every=SELDOM),
    _manipulated("PLE", "", "equal-weight", (0.7306, 0.8930, 0.8118)),
    _manipulated("PLE", " + PUB", "pub", (0.7316, 0.8946, 0.8131)),
    _manipulated("PLE", " + PUB + Clippy", "pub+clippy", (0.7327, 0.8942, 0.8135)),
    _manipulated("PLE", " + PUB + AdaTask", "pub+adatask", (0.7315, 0.8959, 0.8137)),
    replace(faster(FASTER, "MMOE", architecture="mmoe"), how_own={"architecture": EXPERTS["mmoe"]}),
)
TABLE4 = Board(
    "pub-table4", PAPER, "Table IV", "PUB with other update manipulations, and with weights searched more seldom",
    rows=MANIPULATED,
    kind="pub", preset=LOGS, columns=AUCS, stand_in=QUESTIONS,
    stands_for=IN_LOGS + BACKBONES,
)  # fmt: skip
METRICS = (
    ("segmentation", "miou"), ("segmentation", "pixel_accuracy"), ("depth", "abs_err"), ("depth", "rel_err"),
    ("normal", "mean_angle"), ("normal", "median_angle"), ("normal", "within_11"), ("normal", "within_22"),
    ("normal", "within_30"),
)  # fmt: skip


def _told(methods: dict[str, tuple[str, tuple[float, ...]]]) -> tuple[Row, ...]:
    """Rows against single-task learning, with the options of their methods."""
    found = []
    for row in rows(methods, STL):
        options = _options(str(row.how["method"]))
        found.append(replace(row, how={**row.how, "options": options}) if options else row)
    return tuple(found)


TABLE7 = Board(
    "pub-table7", PAPER, "Table VII", "three tasks on rooms, by method",
    rows=(*_told({
        STL: ("stl", (0.3831, 0.6376, 0.6754, 0.2780, 25.01, 19.21, 0.3015, 0.5720, 0.6918, 0.0)),
        "LS": ("equal-weight", (0.3929, 0.6533, 0.5493, 0.2263, 28.15, 23.96, 0.2209, 0.4750, 0.6108, -0.29)),
        "SI": ("si", (0.3845, 0.6427, 0.5354, 0.2201, 27.60, 23.37, 0.2253, 0.4857, 0.6232, -0.54)),
        "RLW": ("rlw", (0.3717, 0.6377, 0.5759, 0.2410, 28.27, 24.18, 0.2226, 0.4705, 0.6062, 0.72)),
        "DWA": ("dwa", (0.3917, 0.6531, 0.5510, 0.2285, 27.61, 23.18, 0.2417, 0.5018, 0.6239, -0.65)),
        "Uncertainty": ("uw", (0.3687, 0.6317, 0.5446, 0.2260, 27.04, 22.61, 0.2354, 0.4905, 0.6365, -0.30)),
        "BanditMTL": ("bandit-mtl", (0.3965, 0.6503, 0.5959, 0.2436, 29.66, 25.83, 0.2000, 0.4400, 0.5741, 1.17)),
        "MGDA": ("mgda", (0.3047, 0.5990, 0.6070, 0.2555, 24.98, 19.56, 0.2909, 0.5674, 0.6921, 0.59)),
        "PCGrad": ("pcgrad", (0.3804, 0.6464, 0.5550, 0.2325, 27.41, 22.80, 0.2386, 0.4983, 0.6314, -0.36)),
        "CAGrad": ("cagrad", (0.3981, 0.6549, 0.5486, 0.2250, 26.31, 21.58, 0.2561, 0.5236, 0.6558, -1.44)),
        "GradDrop": ("graddrop", (0.3939, 0.6512, 0.5455, 0.2279, 27.48, 22.96, 0.2338, 0.4944, 0.6287, -0.69)),
        "IMTL-G": ("imtl-g", (0.3925, 0.6541, 0.5436, 0.2256, 26.02, 21.19, 0.2620, 0.5313, 0.6624, -1.55)),
        "NashMTL": ("nash-mtl", (0.4007, 0.6573, 0.5348, 0.2179, 25.26, 20.08, 0.2840, 0.5547, 0.6815, -2.43)),
        "FAMO": ("famo", (0.3894, 0.6491, 0.5476, 0.2194, 25.06, 19.57, 0.2921, 0.5661, 0.6898, -2.69)),
        "AdaTask": ("adatask", (0.3777, 0.6552, 0.5179, 0.2131, 25.51, 20.05, 0.2844, 0.5529, 0.6773, -2.28)),
        "ClippyAdam": ("clippy", (0.4387, 0.6875, 0.5239, 0.2213, 26.82, 22.22, 0.2438, 0.5084, 0.6429, -2.28)),
        "PUB": ("pub", (0.4481, 0.6985, 0.4974, 0.2087, 26.49, 21.57, 0.2518, 0.5217, 0.6531, -3.23)),
        "PUB + ClippyAdam": ("pub+clippy", (
            0.4559, 0.7032, 0.5014, 0.2118, 25.95, 21.03, 0.2631, 0.5338, 0.6648, -3.57)),
        "PUB + AdaTask": ("pub+adatask", (0.4231, 0.6669, 0.5102, 0.2020, 24.71, 19.03, 0.3017, 0.5747, 0.6963, -3.78)),
    }), faster("LS, K x rate (ours)", STL)),
    kind="pub", preset=PRESETS[PAPER, "nyuv2"], columns=METRICS, stand_in=ROOMS,
    stands_for="The paper's data is NYUv2 (--data nyuv2=DIR). In its place stand two overlaid digits and the picture"
    " itself. As in the paper, the learning rate rises over the first tenth of the steps.",
    hero="PUB", says="PUB improves most over single-task learning of all methods without a second one",
    rivals=("LS", "SI", "RLW", "DWA", "Uncertainty", "BanditMTL", "MGDA", "PCGrad", "CAGrad", "GradDrop", "IMTL-G",
            "NashMTL", "FAMO", "AdaTask", "ClippyAdam"),
)  # fmt: skip


def binds(run: xr.DataTree) -> bool:
    """Whether Clippy can have clipped anything: a step of Adam, with its usual betas, can be longer than its bound."""
    training = run.attrs["training"]
    return float(training["lr"]) * LONGEST > float(training["options"].get("lambda_abs", USUAL_BOUND))


def _combined(material: Material) -> Judgement:
    """Δm is lower the better."""
    found = TABLE4.deltas(material)
    if not all(binds(run) for run in TABLE4.runs(material)["MMOE + PUB + Clippy"]):
        return Judgement("cannot be tested", "Clippy's bound cannot bind: sigma = 1 in every step")
    said, holds, certain = [], [], []
    for label in ("MMOE + PUB + Clippy", "MMOE + PUB + AdaTask"):
        one = gain(*(by_seed(found[each]) for each in (label, "MMOE + PUB")), sign=-1.0)
        said.append(f"{label} {points(one)} better than MMOE + PUB")
        holds.append(one.value > 0)
        certain.append(sure(one))
    return Judgement(three(all(certain), any(holds)), "; ".join(said))


def _seldom(material: Material) -> Judgement:
    found = TABLE4.deltas(material)
    one = gain(*(by_seed(found[f"MMOE + PUB{each}"]) for each in ("", " (s = 100)")), sign=-1.0)
    return Judgement(three(sure(one), one.value > 0), f"weights searched every 10 steps are {points(one)} better")


BASELINES = tuple(row.label for row in MMOE if row.label not in (STL, "MMOE", "MMOE + PUB"))


def _above_the_backbone(material: Material) -> Judgement:
    found = averages(TABLE3, material, "auc")
    one = gain(found["MMOE + PUB"], found["MMOE"])
    return Judgement(three(sure(one), one.value > 0), f"MMOE + PUB: average AUC {points(one)} from MMOE")


def _few_above_the_backbone(material: Material) -> Judgement:
    found = {label: float(values.mean()) for label, values in averages(TABLE3, material, "auc").items()}
    above = [label for label in BASELINES if found[label] > found["MMOE"]]
    said = f"{len(above)} of {len(BASELINES)} are above MMOE's {found['MMOE']:.4f}"
    return Judgement(three(len(above) <= 1, len(above) <= len(BASELINES) / 2), f"{said}: {', '.join(above) or 'none'}")


def _above_single(material: Material) -> Judgement:
    found = means(TABLE7, material)
    whole = [
        label for label in found if label != STL and all(found[label][pair] > found[STL][pair] for pair in found[STL])
    ]
    both = "PUB + AdaTask" in whole, not set(whole) & set(TABLE7.rivals)
    return Judgement(three(all(both), both[0]), f"better in all metrics: {', '.join(whole) or 'none'}")


ITEMS = (
    TABLE3.item(
        Claim("pub-table3-backbone", "PUB significantly improves the average AUC of the backbone",
              "the 95 % interval of the difference of the average AUC, paired by seed, over at least"
              f" {AT_LEAST} seeds, lies above 0, with MMOE; partly: its mean does", _above_the_backbone),
        Claim("pub-table3-baselines", "the others hardly ever improve on it: 2 of 80 average AUCs are above the"
              " backbone",
              "at most one of the ten others has a higher average AUC than MMOE, means over seeds; partly: at"
              " most half", _few_above_the_backbone),
        best_in(TABLE3, "pub-table3-metrics", "PUB outperforms the others at all task metrics"),
    ),
    TABLE4.item(
        Claim(
            "pub-manipulations",
            "Clippy and AdaTask improve PUB further",
            "Δm of PUB + Clippy and of PUB + AdaTask is better than that of PUB: the 95 % interval of the difference,"
            f" paired by seed, over at least {AT_LEAST} seeds, lies on the better side of 0; partly: the mean of one"
            " does. Not tested where Clippy's bound can never bind",
            _combined,
        ),
        Claim(
            "pub-seldom",
            "a noticeable drop in overall performance where weights are searched every 100 steps only",
            "Δm of PUB is better with s = 10 than with s = 100: the 95 % interval of the difference, paired by seed,"
            f" over at least {AT_LEAST} seeds, lies on the better side of 0; partly: its mean does",
            _seldom,
        ),
    ),
    TABLE7.item(
        improve(TABLE7, "pub-rooms-manipulations", "Clippy and AdaTask improve PUB",
                {"PUB + ClippyAdam": "PUB", "PUB + AdaTask": "PUB"}),
        Claim("pub-rooms-all-metrics", "PUB with AdaTask is the first method that is better than single-task learning"
              " in all metrics", "by the means over seeds it is, and none of the methods without PUB; partly: it"
              " is", _above_single),
    ),
)  # fmt: skip
