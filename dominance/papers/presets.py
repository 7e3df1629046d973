"""How each paper trains on each data set, as its text says, and how what stands in for the data is trained.

One place: the figures and tables take their settings from here, and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Fields = Mapping[str, Any]
"""Of ``Training``."""


@dataclass(frozen=True)
class Preset:
    """One paper on one data set.

    Attributes:
        paper, benchmark: which.
        tasks: how many tasks the data has.
        seeds: how many runs the paper averages.
        how: fields of ``Training``; the learning rate always.
        text: where the text says so: a field, or "setting", -> its words.
        left_open: what the text does not say, and what is taken here.
    """

    paper: str
    benchmark: str
    tasks: int
    seeds: int
    how: Fields
    text: Mapping[str, str]
    left_open: str = ""


@dataclass(frozen=True)
class StandIn:
    """Data that can be had without asking, in the place of a paper's.

    Attributes:
        benchmark: which.
        tasks: how many tasks it has.
        lr: learning rate at every scale.
        scales: scale -> more fields of ``Training``.
        says: what it is, in a sentence.
    """

    benchmark: str
    tasks: int
    says: str
    lr: float = 1e-3
    scales: Mapping[str, Fields] = field(default_factory=dict)

    def how(self, scale: str) -> dict[str, Any]:
        """Fields of ``Training`` at this scale, the learning rate among them."""
        return {"lr": self.lr, **self.scales.get(scale, {})}


_CV = "initial learning rate of 0.0001 to train 200 epochs, and halve the learning rate at the 100-th epoch. The batch"
_CV += " size is set to 8 (App. B)"
_LOGS = "We used RMSprop with an initial learning rate of 0.001 and a batch size of 4, 096 (App. B)"
_STOP = "end the training when the result does not improve on the validation set for five consecutive epochs (App. B)"
_EMBEDDING = "The embedding size is set as 10 for all methods on both datasets (App. B)"
_SEEDS = "Each experiment is repeated over 3 random seeds"
_HARD = "we adopt the hard-parameters sharing network architecture (V-D)"
_TEN = "Experiments are executed for ten runs, and the average results are reported (V-D)"
_ADAM = "We use Adam optimizer with a learning-rate set to 0.0001 ... for all datasets (V-D)"
_RESNET = (
    "we use ResNet-50 network as task-shared layers and the Atrous Spatial Pyramid Pooling module as task-specific"
)
_RESNET += " layers with hidden dimensionality set to 2048 (V-D)"
_FIVE = "results are averages over 5 times training with different random seeds (VI-B)"
_SCENES = {
    "architecture": "we use the MTAN as the backbone (App. B)",
    "optimizer": "we use the Adam optimizer (App. B)",
    **dict.fromkeys(("epochs", "lr", "milestones", "decay", "batch_size"), _CV),
    "last": "we do not create a separate validation set, and report the average performance of the last 10 epochs of"
    " the test set (App. B)",
    "seeds": _SEEDS,
}
_VIDEOS = {
    "architecture": "we chose Shared Bottom as the backbone (App. B)",
    **dict.fromkeys(("optimizer", "lr", "batch_size"), _LOGS),
    "patience": _STOP,
    "embedding": _EMBEDDING,
    "least": "features that occur less than ten times are uniformly set to 'Other' (App. B)",
    "seeds": _SEEDS,
}
_VIDEOS_HOW = {
    "settings": {"embedding": 10, "least": 10},
    "architecture": "hps",
    "optimizer": "rmsprop",
    "batch_size": 4096,
    "lr": 1e-3,
    "patience": 5,
}

PRESETS = {
    (each.paper, each.benchmark): each
    for each in (
        Preset(
            "AdaTask", "adatask-synthetic", tasks=2, seeds=3,
            how={"settings": {"spread": "variance", "width": 200}, "optimizer": "rmsprop", "lr": 3e-3},
            text={
                "optimizer": "We use the RMSProp optimizer for parameter optimization",
                "layers": "The MTL model is a 4-layer fully connected neural network with ELU",
                "seeds": _SEEDS,
            },
            left_open="whether N(10, 10) has a variance or a deviation of 10 (variance: task B pays then, as in the"
            " text), width (200), learning rate, steps, sizes of the sets, the distribution of x, the normaliser",
        ),
        Preset(
            "AdaTask", "cityscapes", tasks=2, seeds=3,
            how={"settings": {"backbone": "segnet"}, "architecture": "mtan", "optimizer": "adam", "epochs": 200,
                 "batch_size": 8, "lr": 1e-4, "milestones": "0.5", "decay": 2.0, "last": 10},
            text=_SCENES,
            left_open="what MTAN is built on (SegNet, as in MTAN)",
        ),
        Preset("AdaTask", "tiktok", tasks=2, seeds=3, how=_VIDEOS_HOW, text=_VIDEOS,
               left_open="width of the two hidden layers (128), epochs (20 at most)"),
        Preset("AdaTask", "wechat", tasks=4, seeds=3, how=_VIDEOS_HOW, text=_VIDEOS,
               left_open="width of the two hidden layers (128), epochs (20 at most)"),
        Preset(
            "MoCoGrad", "aliexpress", tasks=2, seeds=10,
            how={"settings": {"layers": 2}, "architecture": "hps", "optimizer": "adam", "lr": 1e-4},
            text={"layers": "we use an embedding layer followed by two-layer MLP as task-shared layers (V-D)",
                  "architecture": _HARD,
                  "optimizer": _ADAM, "lr": _ADAM, "seeds": _TEN},
            left_open="batch size (4096), epochs (3), widths",
        ),
        Preset(
            "MoCoGrad", "movielens", tasks=9, seeds=10,
            how={"settings": {"trunk": "bst"}, "architecture": "hps", "optimizer": "adam", "lr": 1e-4},
            text={"trunk": "we implement the BST model as task-shared layers (V-D)", "optimizer": _ADAM, "lr": _ADAM,
                  "architecture": _HARD, "seeds": _TEN},
            left_open="size of the BST, batch size (256), epochs (10)",
        ),
        Preset(
            "MoCoGrad", "qm9", tasks=11, seeds=10,
            how={"settings": {"trunk": "graph", "width": 64, "own_batches": "true"}, "architecture": "hps",
                 "optimizer": "adam", "lr": 3e-3},
            text={"own_batches": "This is a multi-input MTL dataset (V-A)",
                  "trunk": "we use graph convolutional neural networks as task-shared layers (V-D)",
                  "optimizer": "Adam optimizer with learning-rate set to 0.003 (V-D)",
                  "lr": "Adam optimizer with learning-rate set to 0.003 (V-D)",
                  "architecture": _HARD, "seeds": _TEN},
            left_open="which convolutions (relational ones, over the bonds), width (64), batch size (256), epochs (10)",
        ),
        *(
            Preset(
                "MoCoGrad", data, tasks=tasks, seeds=10,
                how={"settings": {"backbone": "resnet50", "head": 2048}, "architecture": "hps", "optimizer": "adam",
                     "lr": 1e-4},
                text={"backbone": _RESNET, "head": _RESNET, "optimizer": _ADAM, "lr": _ADAM, "seeds": _TEN,
                      "architecture": _HARD},
                left_open="batch size (8), epochs (20)",
            )
            for data, tasks in (("nyuv2", 3), ("cityscapes", 2))
        ),
        Preset(
            "MoCoGrad", "office-home", tasks=4, seeds=10,
            how={"settings": {"backbone": "resnet18", "size": 224}, "architecture": "hps", "optimizer": "adam",
                 "lr": 1e-4},
            text={"backbone": "we use ResNet-18 network as taskshared layers (V-D)", "optimizer": _ADAM, "lr": _ADAM,
                  "architecture": _HARD, "seeds": _TEN},
            left_open="size of the pictures (224, that of ResNet-18), batch size (32), epochs (10)",
        ),
        Preset(
            "PUB", "aliexpress", tasks=2, seeds=5,
            how={"settings": {"layers": 1}, "batch_size": 4096, "optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-6},
            text={"layers": "all experts are single layer perceptron with same shape (VI-A2)",
                  **dict.fromkeys(("lr", "weight_decay", "batch_size"), "The learning rate was set to 1e-3 and weight"
                                  " decay to 1e-6, with a batch size of 4096 (VI-A3)"),
                  "optimizer": "Optimizer: Adam (III)", "seeds": _FIVE},
            left_open="epochs (3, the best on the validation set), width of the experts (128)",
        ),
        Preset(
            "PUB", "nyuv2", tasks=3, seeds=3,
            how={"settings": {"backbone": "segnet"}, "architecture": "mtan", "optimizer": "adam", "epochs": 300,
                 "batch_size": 4, "lr": 1e-4, "warmup": 5_970},
            text={"architecture": "We trained each MTO method with MTAN (VI-A3)",
                  "backbone": "It adds an attention mechanism on top of the SegNet architecture (VI-A2)",
                  **dict.fromkeys(("epochs", "optimizer"), "for 300 epochs using the Adam optimizer (VI-A3)"),
                  **dict.fromkeys(("lr", "batch_size", "warmup"), "Learning rate is 1e-4. batch size is 4, and 10%"
                                  " steps for warm-up (VI-A3)"),
                  "seeds": "averaged over 3 training with different random seed (Table VII)"},
            left_open="warm-up is in steps here: a tenth of 300 epochs of 199",
        ),
        Preset(
            "PUB", "toy-2d", tasks=2, seeds=1,
            how={"optimizer": "adam", "lr": 1e-3, "settings": {"scale": 0.1}},
            text={"optimizer": "optimizer is Adam in all experiments (Fig. 2)"},
            left_open="learning rate and scale: those of Nash-MTL, to which the text refers",
        ),
    )
}  # fmt: skip
"""(paper, benchmark) -> preset."""

EXPERTS = {"mmoe": "mmoe:experts=8,levels=2", "ple": "ple:levels=2,shared=8,own=8"}
"""PUB: "MMOE backbone has two moe layers which both contain 8 experts. PLE has two moe layers too, and each moe layer
contains 8 shared experts and 8 task-specific expert for every tasks" (VI-A2); VI-A3 has PLE with four and four."""
MMOE_LOGS = "mmoe:experts=4"
"""AdaTask: "MMoE: 4 experts" (Table 7)."""
SEARCHED = 10
"""PUB: "we searched task weights every 10 batches on all experiments in above experiments" (VI-B)."""
SELDOM = 100
"""PUB: "we compute the value of parameter α in every s ∈ {10, 100} training steps" (V), and "we do see a noticeable
drop in overall performance when decrease the searching frequency to every 100 steps" (VI-C)."""

_SMALL = {"settings": {"pairs": 3000}, "batch_size": 64}
_PAIR = {"tasks": ("left", "right")}
_CENSUS_QUICK = {"settings": {"samples": 20_000}, "batch_size": 256}
_TWO = {"weeks": "input"}
PICTURES = StandIn(
    "digits", 3, "two overlaid digits, with the picture itself as a third task, which dominates",
    scales={"quick": {**_SMALL, "epochs": 6}, "long": {**_SMALL, "epochs": 24}, "full": {**_SMALL, "epochs": 200}},
)  # fmt: skip
"""282 steps, in which the training has barely left its plateau; 1,128; and as many epochs as on CityScapes."""
ROOMS = StandIn(
    "digits", 3, PICTURES.says,
    scales={
        "quick": {**_SMALL, "epochs": 6, "warmup": 28},
        "long": {**_SMALL, "epochs": 24, "warmup": 113},
        "full": {**_SMALL, "epochs": 300, "warmup": 1_410},
    },
)  # fmt: skip
"""As many epochs as PUB has on NYUv2, at full scale; a tenth of the steps is warm-up."""
PAIR = StandIn(
    "digits", 2, "two overlaid digits, whose tasks have losses of one scale",
    scales={scale: {**how, **_PAIR} for scale, how in PICTURES.scales.items()},
)  # fmt: skip
LOGS = StandIn(
    "census", 3, "KDD Census-Income, whose weeks worked dominate",
    scales={
        "quick": {**_CENSUS_QUICK, "optimizer": "rmsprop"},
        "long": {"optimizer": "rmsprop", "epochs": 6},
        "full": {"optimizer": "rmsprop", "epochs": 20, "patience": 5, "batch_size": 4096},
    },
)  # fmt: skip
QUESTIONS = StandIn(
    "census", 2, "KDD Census-Income with two questions with yes or no",
    scales={
        "quick": {"settings": {**_TWO, "samples": 20_000}, "batch_size": 256, "every": 5},
        "long": {"settings": _TWO, "epochs": 6},
        "full": {"settings": _TWO, "epochs": 20, "batch_size": 4096},
    },
)  # fmt: skip
FILMS = StandIn(
    "movielens", 9, "MovieLens with a hundred thousand ratings in place of ten million",
    scales={"quick": {"epochs": 5}, "long": {"epochs": 16}, "full": {"settings": {"trunk": "bst"}, "epochs": 20}},
)  # fmt: skip
_GRAPHS = {"trunk": "graph", "width": 64}
MOLECULES = StandIn(
    "qm9", 11, "QM9 itself",
    scales={
        "quick": {"settings": {**_GRAPHS, "molecules": 3000}, "epochs": 12, "every": 10},
        "long": {"settings": _GRAPHS, "epochs": 10},
        "full": {"settings": _GRAPHS},
    },
)  # fmt: skip
