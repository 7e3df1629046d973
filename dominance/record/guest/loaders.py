"""Which DataLoader of the script a batch came from, whether the script trains on it, and what it calls it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import Any
from weakref import ref

from torch import Tensor
from torch.utils.data import DataLoader

from dominance.record.frames import variables_of
from dominance.record.guest.unseen import unseen
from dominance.record.tasks.scalar_names import EVALUATED

_SPLITS = {
    **EVALUATED, "validate": "val", "evaluate": "val", "evaluation": "val", "dev": "val", "testing": "test",
}  # fmt: skip
"""Words that say what is evaluated."""
_TRAIN = {"train", "training", "trainset"}
_PASSES = 2
"""So many batches that were each followed by a backward() make an iterator one of the training. After one of several it
may be an evaluation that did not go to its end, where a trainer had fetched the next training batch before."""
_SHARE = 0.9
"""Where so many of the batches were followed by one, fewer are enough."""
_MOST = 256


def split_in(names: Iterable[str]) -> str | None:
    """The split that the first of these names says that says one: "val" or "test"; None: none does.

    >>> split_in(["loss_a", "validation_step", "test_all"])
    'val'
    """
    for name in names:
        for word in _words(name):
            if word in _SPLITS:
                return _SPLITS[word]
    return None


def _words(name: str) -> list[str]:
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return [word for word in re.split(r"[^a-z]+", parts) if word]


class _Loader:
    """One DataLoader, by the sampler that it and its iterators have."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = ref(sampler)
        self.fetches = self.passes = 0
        self.named = False
        self.said: str | None = None
        self.split: str | None = None

    @property
    def trained(self) -> bool:
        """Whether the script trains on its batches."""
        return self.passes >= _PASSES and self.passes >= _SHARE * self.fetches

    def look(self, frames: Sequence[FrameType]) -> None:
        """Look for what the script calls it, once."""
        if not self.named:
            self.named = True
            sampler = self.sampler()
            names = [name for name, held in _loaders_in(frames) if held._index_sampler is sampler]
            words = {word for name in names for word in _words(name)}
            self.said = "train" if words & _TRAIN else split_in(names)


def _loaders_in(frames: Sequence[FrameType]) -> Iterator[tuple[str, DataLoader[Any]]]:
    for frame in frames:
        for name, value in variables_of(frame).items():
            if isinstance(value, DataLoader):
                yield name, value
            elif type(value) is dict:
                yield from ((str(key), each) for key, each in value.items() if isinstance(each, DataLoader))


def _sizes(batch: Any) -> Iterator[int]:
    """Of the tensors of a batch, along their first dimension."""
    if type(batch) is Tensor:
        if batch.dim():
            yield batch.shape[0]
    elif type(batch) in (dict, list, tuple):
        for each in batch.values() if type(batch) is dict else batch:
            yield from _sizes(each)


class DataPass:
    """One iterator of a loader: a pass through its data, or a part of one."""

    def __init__(self, iterator: Any, loader: _Loader, loaders: Loaders) -> None:
        self.iterator = ref(iterator)
        self.loader = loader
        self.passes = 0
        """Batches that were followed by a backward()."""
        self.fresh = False
        """Whether it has given a batch since the last."""
        self.fetches = 0
        self.over = False
        self.sizes: set[int] = set()
        """Of the tensors of its last batch, along their first dimension."""
        self._loaders = loaders

    def gave(self, size: int | None) -> bool:
        """Whether what a model is called with may be of its last batch.

        Args:
            size: of the model's input, along its first dimension.
        """
        return not self.passes or not (self.over or (size is not None and size not in self.sizes))

    def split(self, otherwise: str | None, *, evaluating: bool) -> str | None:
        """What its data are: the loader's name says it, or else what is given, or else it is "val".

        A second loader of one split has a number behind it. None: what is computed of its batches is of the training.

        Args:
            otherwise: what else says it.
            evaluating: whether the model is in its mode of evaluation.
        """
        loader = self.loader
        trains = self.passes >= _PASSES or (self.passes > 0 and self.passes >= _SHARE * self.fetches)
        if trains or (loader.trained and (self.passes or not evaluating)):
            return None
        if loader.trained:
            return "train"
        if loader.split is None:
            loader.split = self._loaders.free(loader.said or otherwise or "val")
        return loader.split


class Loaders:
    """The loaders of a script, as far as they have come up; nothing here keeps them alive."""

    def __init__(self) -> None:
        self._loaders: dict[int, _Loader] = {}
        self._sources: dict[int, DataPass] = {}
        self._now: DataPass | None = None
        self._splits: set[str] = set()

    def fetched(self, iterator: Any, batch: Any, *, over: bool) -> None:
        """An iterator has given a batch, or has come to its end."""
        known = self._sources.get(id(iterator))
        if known is None or known.iterator() is not iterator:
            known = self._sources[id(iterator)] = DataPass(iterator, self._loader(iterator), self)
            if len(self._sources) > _MOST:
                self._sources = {key: each for key, each in self._sources.items() if each.iterator() is not None}
        known.over, known.fresh = over, not over
        if not over:
            known.fetches += 1
            known.loader.fetches += 1
            with unseen():
                known.sizes = set(_sizes(batch))
        self._now = known

    def _loader(self, iterator: Any) -> _Loader:
        sampler = iterator._index_sampler
        known = self._loaders.get(id(sampler))
        if known is None or known.sampler() is not sampler:
            known = self._loaders[id(sampler)] = _Loader(sampler)
        return known

    def trains(self) -> None:
        """A backward() goes on, on the last batch."""
        now = self._now
        if now is not None and now.fresh:
            now.fresh = False
            now.passes += 1
            now.loader.passes += 1

    def now(self, size: int | None, frames: Sequence[FrameType]) -> DataPass | None:
        """Where the last batch came from; None where there was none, or it was not that which a model is called with.

        Args:
            size: of the model's input, along its first dimension.
            frames: of the script, where the loader's name is looked for.
        """
        now = self._now
        if now is None or not now.gave(size):
            return None
        now.loader.look(frames)
        return now

    def free(self, split: str) -> str:
        """The split, or the first of that name with a number that no other loader has."""
        name, number = split, 1
        while name in self._splits:
            number += 1
            name = f"{split}.{number}"
        self._splits.add(name)
        return name
