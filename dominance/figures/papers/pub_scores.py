"""PUB's tables of scores: AliExpress (III, IV) and NYUv2 (VII), which cannot be shipped, and what stands in."""

from __future__ import annotations

from typing import Any

from dominance.figures.papers.adatask_elsewhere import rows
from dominance.figures.papers.item import Claim, Judgement
from dominance.figures.papers.material import Material
from dominance.figures.papers.outcomes import three
from dominance.figures.papers.scoreboard import Board, Row

PAPER = "PUB"
STL = "STL"
CENSUS: dict[str, dict[str, Any]] = {
    "quick": {"settings": {"weeks": "input", "samples": 20_000}, "batch_size": 256, "every": 5},
    "full": {"settings": {"weeks": "input"}},
}
IN_LOGS = (
    "The paper's data is AliExpress of four countries (--data aliexpress=DIR, one of them; published: ES). In its place"
    " stands KDD Census-Income with two questions with yes or no."
)
OWN_HOW: dict[str, Any] = {"batch_size": 4096}
AUCS = (("ctr", "auc"), ("ctcvr", "auc"))
NAN = float("nan")
TABLE3 = Board(
    "pub-table3", PAPER, "Table III", "AUC by method, MMOE",
    rows=rows({
        STL: ("stl", (0.7252, 0.8832)),
        "MMOE": ("equal-weight", (0.7290, 0.8959)),
        "MMOE + MGDA": ("mgda", (0.7294, 0.8901)),
        "MMOE + NashMTL": ("nash-mtl", (0.7285, 0.8957)),
        "MMOE + IMTL-G": ("imtl-g", (0.7275, 0.8922)),
        "MMOE + PCGrad": ("pcgrad", (0.7301, 0.8915)),
        "MMOE + CAGrad": ("cagrad", (0.7296, 0.8934)),
        "MMOE + Uncertainty": ("uw", (0.7286, 0.8932)),
        "MMOE + BanditMTL": ("bandit-mtl", (0.7292, 0.8949)),
        "MMOE + FAMO": ("famo", (0.7295, 0.8941)),
        "MMOE + ClippyAdam": ("clippy", (0.7303, 0.8931)),
        "MMOE + AdaTask": ("adatask", (0.7306, 0.8917)),
        "MMOE + PUB": ("pub", (0.7323, 0.8967)),
    }, STL, architecture="mmoe"),
    kind="pub", own="aliexpress", own_how=OWN_HOW, columns=AUCS, stand_in="census", stand_in_how=CENSUS,
    stands_for=IN_LOGS, hero="MMOE + PUB",
    says="PUB has the best average AUC of all methods (0.8145 against 0.8124 of MMOE, ES)",
)  # fmt: skip
TABLE4 = Board(
    "pub-table4", PAPER, "Table IV", "PUB with other update manipulations, MMOE",
    rows=tuple(
        Row(label, {"method": method, "architecture": "mmoe", "options": options}, against, published)
        for label, method, options, against, published in (
            ("MMOE", "equal-weight", {}, None, (0.7290, 0.8959)),
            ("MMOE + PUB", "pub", {"every": 10}, "MMOE", (0.7316, 0.8952)),
            ("MMOE + PUB + Clippy", "pub+clippy", {"every": 10}, "MMOE", (0.7329, 0.8954)),
            ("MMOE + PUB + AdaTask", "pub+adatask", {"every": 10}, "MMOE", (0.7320, 0.8962)),
        )
    ),
    kind="pub", own="aliexpress", own_how=OWN_HOW, columns=AUCS, stand_in="census", stand_in_how=CENSUS,
    stands_for=IN_LOGS,
)  # fmt: skip
TABLE7 = Board(
    "pub-table7", PAPER, "Table VII", "three tasks on rooms, by method",
    rows=rows({
        STL: ("stl", (0.0,)),
        "LS": ("equal-weight", (-0.29,)),
        "SI": ("si", (-0.54,)),
        "RLW": ("rlw", (0.72,)),
        "DWA": ("dwa", (-0.65,)),
        "Uncertainty": ("uw", (-0.30,)),
        "BanditMTL": ("bandit-mtl", (1.17,)),
        "MGDA": ("mgda", (0.59,)),
        "PCGrad": ("pcgrad", (-0.36,)),
        "CAGrad": ("cagrad", (-1.44,)),
        "GradDrop": ("graddrop", (-0.69,)),
        "IMTL-G": ("imtl-g", (-1.55,)),
        "NashMTL": ("nash-mtl", (-2.43,)),
        "FAMO": ("famo", (-2.69,)),
        "AdaTask": ("adatask", (-2.28,)),
        "ClippyAdam": ("clippy", (-2.28,)),
        "PUB": ("pub", (-3.23,)),
        "PUB + ClippyAdam": ("pub+clippy", (-3.57,)),
        "PUB + AdaTask": ("pub+adatask", (-3.78,)),
    }, STL),
    kind="pub", own="nyuv2", stand_in="digits", stand_in_how={"quick": {}, "full": {}},
    own_how={"settings": {"backbone": "segnet"}, "architecture": "mtan", "batch_size": 4, "lr": 1e-4, "epochs": 300},
    stands_for="The paper's data is NYUv2 (--data nyuv2=DIR). In its place stand two overlaid digits and the picture"
    " itself; the paper's warm-up is left out.",
    hero="PUB", says="PUB improves most over single-task learning of all methods without a second one",
    rivals=("LS", "SI", "RLW", "DWA", "Uncertainty", "BanditMTL", "MGDA", "PCGrad", "CAGrad", "GradDrop", "IMTL-G",
            "NashMTL", "FAMO", "AdaTask", "ClippyAdam"),
)  # fmt: skip


def _combined(material: Material) -> Judgement:
    """Δm is lower the better."""
    found = TABLE4.deltas(material)
    means = {label: 100 * float(one["delta"]) for label, one in found.items()}
    plain = means["MMOE + PUB"]
    said = ", ".join(f"{label} {value:+.2f} %" for label, value in means.items())
    better = [means[label] < plain for label in means if label != "MMOE + PUB"]
    return Judgement(three(all(better), any(better)), f"Δm against MMOE: {said}")


ITEMS = (
    TABLE3.item(),
    TABLE4.item(
        Claim(
            "pub-manipulations",
            "Clippy and AdaTask improve PUB further",
            "Δm of PUB + Clippy and of PUB + AdaTask is better than that of PUB, by the means of three seeds;"
            " partly: of one of them",
            _combined,
        )
    ),
    TABLE7.item(),
)
