"""Noise probes of what a training left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from dominance.benchmarks.benchmark import Scores
from dominance.benchmarks.train import checkpoint
from dominance.benchmarks.train.evaluation import evaluate
from dominance.benchmarks.train.plan import TrainOptions, plan
from dominance.benchmarks.train.trainer import seeded
from dominance.errors import BadOption
from dominance.record.probes import NoiseProbe


@contextmanager
def noise_probe(path: str | Path) -> Iterator[NoiseProbe]:
    """A probe of the model as it was after the last step of a training, evaluated on "test".

    Inside, torch has the threads and the seed of the training.

    Raises:
        NotARun, CorruptRun: there is no checkpoint at ``path``, or it cannot be read.
        BadOption: the tasks were trained alone.
        MissingData, BadData: see ``Benchmark.load``.
    """
    state = checkpoint.load(Path(path))
    made = plan(TrainOptions.from_plain(state["options"]))
    if "model" not in state or len(made.names) < 2:
        raise BadOption(f"{path}: its tasks share no parameter to put noise on", fix="probe tasks trained together")
    with seeded(made.options):
        made.benchmark.load(made.options.seed)
        model = made.benchmark.model(made.architecture, made.names).to(made.options.device)

        def on_test(model: nn.Module) -> Scores:
            return evaluate(
                made.benchmark,
                model,
                "test",
                tasks=made.names,
                batch_size=made.batch_size,
                device=made.options.device,
            )

        yield NoiseProbe(model, on_test, state_dict=state["model"])


def probes_wanted(path: str | Path) -> tuple[str, ...]:
    """The probes that a training was begun with."""
    record = checkpoint.load(Path(path))["record"]
    return () if record is None else tuple(record.get("probe", ()))
