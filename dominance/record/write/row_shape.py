"""Where everything of a run's parameters lies in its rows."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dominance.record.parameters import Named
from dominance.record.sharded_models import Piece
from dominance.record.split.packs import Pack
from dominance.record.split.products import Products
from dominance.record.write.sampling import Sample
from dominance.schema import Layout


@dataclass(frozen=True)
class KeptPlace:
    """Where one parameter lies in the rows: its layer, and its kept coordinates."""

    layer: int
    columns: slice | npt.NDArray[np.int64]
    index: Tensor


@dataclass(frozen=True)
class PackPlace:
    """Where several parameters that are packed lie in the rows."""

    layers: npt.NDArray[np.int64]
    """Of each run of parameters of one layer."""
    starts: npt.NDArray[np.int64]
    """Where each run begins in the pack."""
    first: list[Tensor]
    """The first parameter of each run."""
    columns: slice | npt.NDArray[np.int64]
    """The kept coordinates in the rows, and in the pack."""
    source: slice | npt.NDArray[np.int64]
    once: bool
    """Whether no layer has two runs."""

    def add(self, sums: Any, at: tuple[npt.NDArray[np.int64], ...], runs: npt.NDArray[np.float64]) -> None:
        """Add numbers of each run to those of its layer, at these positions along the further axes."""
        index = np.ix_(self.layers, *at)
        if self.once:
            sums[index] += runs
        else:
            np.add.at(sums, index, runs)


def _place_of(pack: Pack, places: Sequence[KeptPlace]) -> PackPlace:
    layers = np.array([place.layer for place in places])
    first = np.flatnonzero(np.diff(layers, prepend=-1))
    slices = [place.columns for place in places if isinstance(place.columns, slice)]
    columns = np.concatenate([np.arange(each.start, each.stop) for each in slices])
    source = np.concatenate([start + place.index.numpy() for start, place in zip(pack.starts, places, strict=False)])
    return PackPlace(
        layers[first],
        pack.starts[first],
        [pack.members[i] for i in first],
        _as_slice(columns),
        _as_slice(source),
        once=len(set(layers[first].tolist())) == len(first),
    )


def _as_slice(numbers: npt.NDArray[np.int64]) -> slice | npt.NDArray[np.int64]:
    """The same as a slice where they follow each other: it is read without a copy."""
    if len(numbers) and (np.diff(numbers) == 1).all():
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return numbers


def _place(parameter: Tensor, layer: int, sample: Sample, columns: slice) -> KeptPlace:
    """Where a parameter lies whose kept coordinates are in these columns: of a piece, those that are in it."""
    index = sample.index[columns]
    if not isinstance(parameter, Piece):
        return KeptPlace(layer, columns, torch.from_numpy(index))
    first, last = np.searchsorted(index, [parameter.start, parameter.start + parameter.numel()]).tolist()
    mine = slice(columns.start + first, columns.start + last)
    return KeptPlace(layer, mine, torch.from_numpy(index[first:last] - parameter.start))


class RowShape:
    """Positions of everything in a row, fixed when the run is laid out; tasks may be added later.

    Args:
        layout: of the run.
        named: its parameters.
        sample: the coordinates that are kept.
        held: those of the parameters whose rows this process works out; None: all.
    """

    def __init__(self, layout: Layout, named: Sequence[Named], sample: Sample, held: Set[Tensor] | None = None) -> None:
        self.layout = layout
        self.coords = len(sample.parameter)
        self.products = Products()
        self._tiles: dict[tuple[Tensor, int], KeptPlace] = {}
        self._kept_rows: dict[Tensor, npt.NDArray[np.int64]] = {}
        self._indices: dict[Tensor, Tensor] = {}
        self._packs: WeakKeyDictionary[Pack, PackPlace] = WeakKeyDictionary()
        bounds = np.searchsorted(sample.parameter, np.arange(len(named) + 1))
        layers = {name: position for position, name in enumerate(layout.layers)}
        self.places = {
            entry.tensor: _place(entry.tensor, layers[entry.layer], sample, slice(int(bounds[i]), int(bounds[i + 1])))
            for i, entry in enumerate(named)
            if held is None or entry.tensor in held
        }

    def kept(self, parameter: Tensor) -> Tensor | None:
        """The coordinates of a parameter that are kept; None where it is none of those."""
        place = self.places.get(parameter)
        return None if place is None else place.index

    def put(self, old: Tensor, new: Tensor) -> None:
        """The place of a parameter is that of another now."""
        if old in self.places:
            self.places[new] = self.places.pop(old)
            self._tiles = {key: place for key, place in self._tiles.items() if key[0] is not old}
            self._kept_rows.pop(old, None)
            self._indices.pop(old, None)

    def index(self, parameter: Tensor, place: KeptPlace, device: torch.device) -> Tensor:
        """The positions of a parameter's kept coordinates, on its device; of some rows of it, those of the place."""
        if place is not self.places[parameter]:
            return place.index.to(device)
        known = self._indices.get(parameter)
        if known is None or known.device != device:
            known = self._indices[parameter] = place.index.to(device)
        return known

    def pack(self, pack: Pack) -> PackPlace:
        """Where the coordinates of several parameters lie."""
        known = self._packs.get(pack)
        if known is None:
            known = self._packs[pack] = _place_of(pack, [self.places[p] for p in pack.members])
        return known

    def of_rows(self, parameter: Tensor, rows: Tensor) -> KeptPlace:
        """Where the coordinates of these rows of a parameter lie; the rows, in order, are laid one after the other."""
        whole, width = self.places[parameter], parameter[0].numel()
        assert isinstance(whole.columns, slice)
        kept = self._kept_rows.get(parameter)
        if kept is None:
            kept = self._kept_rows[parameter] = whole.index.numpy() // width
        wanted = rows.cpu().numpy()
        first = np.searchsorted(kept, wanted)
        counts = np.searchsorted(kept, wanted, side="right") - first
        before = np.cumsum(counts) - counts
        found = np.repeat(first - before, counts) + np.arange(counts.sum())
        index = np.repeat(np.arange(len(wanted)), counts) * width + whole.index.numpy()[found] % width
        return KeptPlace(whole.layer, whole.columns.start + found, torch.from_numpy(index))

    def tile(self, parameter: Tensor, place: slice) -> KeptPlace:
        """Where some of a parameter's coordinates lie."""
        known = self._tiles.get((parameter, place.start))
        if known is None:
            whole = self.places[parameter]
            assert isinstance(whole.columns, slice)
            first, last = np.searchsorted(whole.index.numpy(), [place.start, place.stop]).tolist()
            start = whole.columns.start
            columns, index = slice(start + first, start + last), whole.index[first:last] - place.start
            known = self._tiles[parameter, place.start] = KeptPlace(whole.layer, columns, index)
        return known
