"""``record --groups``: the group of each example of a batch, from the batches that the script's DataLoaders give."""

from __future__ import annotations

import functools
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.data import dataloader
from torch.utils.hooks import RemovableHandle

from dominance.config import parse_groups
from dominance.record.fail_safe import harmless
from dominance.record.guest.batch_keys import MOST_SAID, TARGET, described, ids_in, tensors_in
from dominance.record.guest.dataset_rows import BatchRows, Drawn
from dominance.record.patches import replace
from dominance.record.tasks.graph import output_shape
from dominance.record.tasks.grouped import GroupedTensor, mixes_examples, places_of
from dominance.record.tasks.shares import Groups, codes_of
from dominance.record.tasks.weights import Root

OTHER = "other"
_MOST_HELD = 16
"""Batches that may be waiting, where a loop fetches them before it needs them."""
_MOST_INPUTS = 8

NO_LOADER = (
    "no DataLoader of torch has given a batch; name the groups with dominance.observe(at=..., shares=by_group(ids))"
)
AMBIGUOUS = "which of the batches that were fetched the loss is of cannot be told"
NO_PLACE = "the groups of this batch fit no tensor before the loss"


@dataclass
class _Batch:
    """One batch as a DataLoader gave it: its ids, and its tensors, to tell it again."""

    ids: Any
    problem: str | None
    keys: str
    """What it has, in words."""
    tensors: list[weakref.ref[Tensor]]
    source: int
    """Which iterator it is from, by its id."""
    rows: BatchRows | None
    """What it was made of, where it has no ids itself."""
    of: str = ""
    """Whose the ids are, in words, where they are not its own."""

    def look_up(self, key: str) -> None:
        """Take its ids from its dataset, where it has none itself, and has not been looked up."""
        if self.rows is None:
            return
        try:
            self.ids, self.problem, self.of = self.rows.ids(key), None, " of the dataset"
        except LookupError as error:
            self.problem = f"{self.problem}; {error.args[0]}"
        self.rows = None

    def holds(self, given: Tensor) -> bool:
        """Whether a tensor is one of its own, a view of one, or a copy, on another device or in another precision."""
        mine = [tensor for each in self.tensors if (tensor := each()) is not None]
        memory = given.untyped_storage().data_ptr()
        if any(memory and memory == tensor.untyped_storage().data_ptr() for tensor in mine):
            return True
        alike = [t for t in mine if t.shape == given.shape and t.is_floating_point() == given.is_floating_point()]
        return any(torch.equal(t.to(given.device, given.dtype), given.detach()) for t in alike)


@dataclass
class Seats:
    """Names of groups, as many as there may be; what comes up later is one group more."""

    word: str
    most: int
    names: dict[Any, str] = field(default_factory=dict)

    def fold(self, ids: Any, *, positive: bool) -> Groups:
        """The groups of these ids.

        Args:
            ids: as ``codes_of`` takes them.
            positive: numbers below zero are of no group.

        Raises:
            ValueError: they are no ids.
        """
        codes, values = codes_of(ids)
        size = torch.bincount(codes.flatten(), minlength=len(values)).tolist()
        out = {value for value in values if positive and isinstance(value, int) and value < 0}
        for code in sorted(range(len(values)), key=lambda code: -size[code]):
            value = values[code]
            if value not in out and value not in self.names and len(self.names) < self.most:
                self.names[value] = value if isinstance(value, str) else f"{self.word} {int(value)}"
        called = [None if value in out else self.names.get(value, OTHER) for value in values]
        names = list(dict.fromkeys(name for name in called if name is not None))
        place = torch.tensor([-1 if name is None else names.index(name) for name in called], dtype=torch.long)
        return Groups(place[codes], names)


class Batches:
    """Knows the ids of the batch that a loss is of.

    A loop that fetches each batch when it needs it has the last one. Where an iterator has given several batches before
    one backward(), the one is meant that a module was called with since, in itself or as a copy.

    Args:
        asked: as ``--groups`` takes it; None: nothing is looked at.
        fail: told of an error of ours; the script goes on.
    """

    def __init__(self, asked: str | None, fail: Callable[[BaseException], None]) -> None:
        self.key, most = ("", 0) if asked is None else parse_groups(asked)
        self._asked = asked
        word = "class" if self.key == TARGET else "group" if self.key.isdigit() else self.key
        self._seats = Seats(word, most)
        self.failure: str | None = None
        self._tell = fail
        self._held: deque[_Batch] = deque(maxlen=_MOST_HELD)
        self._fetched: list[int] = []
        """Sources of the batches that came since the last backward()."""
        self._ahead: set[int] = set()
        """Sources of which several batches came before one backward()."""
        self._since: tuple[list[int], list[weakref.ref[Tensor]]] = [], []
        """Of the backward() that goes on: the batches, and what modules were called with."""
        self._now: _Batch | None = None
        self._inputs: list[weakref.ref[Tensor]] = []
        self._hook: RemovableHandle | None = None
        self._undo: list[Callable[[], None]] = []
        self._drawn = Drawn(self.key, self.fail)
        self._problem: str | None = None
        self.split: str | None = None
        """What was split, and where, in words; None as long as nothing was."""

    # What the script does

    def start(self) -> None:
        """Look at every batch from now on, where groups are asked for."""
        if self._asked is not None:
            loader = dataloader._BaseDataLoaderIter
            self._undo = [replace(loader, "__next__", self._next), replace(loader, "_next_index", self._next_index)]

    def stop(self) -> None:
        """Look no more, and let go of all batches."""
        while self._undo:
            self._undo.pop()()
        self._drawn.stop()
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        self._held.clear()
        self._now = None

    def fail(self, error: BaseException) -> None:
        """Look no more."""
        self.failure = str(error)
        self._tell(error)

    def _next(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def fetched(iterator: Any) -> Any:
            try:
                batch = original(iterator)
            except BaseException:
                self._ahead.discard(id(iterator))  # it is over, or ended the script
                raise
            self._fetch(batch, iterator)
            return batch

        return fetched

    def _next_index(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def drawn(iterator: Any) -> Any:
            index = original(iterator)
            self._drawn.drew(iterator, index)
            return index

        return drawn

    @harmless
    def _fetch(self, batch: Any, iterator: Any) -> None:
        ids, problem, source = None, None, id(iterator)
        rows: BatchRows | None = self._drawn.taken(iterator)
        try:
            ids, rows = ids_in(batch, self.key), None
            self._drawn.release(iterator)
        except LookupError as error:
            problem = str(error.args[0])
        tensors = [weakref.ref(t) for t in tensors_in(batch)]
        self._held.append(_Batch(ids, problem, described(batch), tensors, source, rows))
        if source in self._fetched and self._hook is None:
            self._hook = register_module_forward_pre_hook(self._called)
        self._fetched.append(source)

    def _called(self, module: nn.Module, args: Any) -> None:
        if len(self._inputs) < _MOST_INPUTS and not torch.compiler.is_compiling() and torch.is_grad_enabled():
            self._inputs += [weakref.ref(tensor) for tensor in tensors_in(args) if not tensor.requires_grad]

    def backward(self) -> None:
        """A backward() begins, whether it is recorded or not."""
        if self._asked is None or not (self._fetched or self._inputs):
            return  # one more of the same batch
        self._ahead |= {source for source in self._fetched if self._fetched.count(source) > 1}
        self._since, self._now = (self._fetched, self._inputs), None
        self._fetched, self._inputs = [], []

    # What a backward() asks

    def before(self, roots: Sequence[Root], parameters: set[int], root_name: str | None) -> list[GroupedTensor] | str:
        """Where the groups of this loss are told apart; or why they cannot be.

        Args:
            roots: what backward() is called on.
            parameters: ids of the parameters that can get a gradient from it.
            root_name: what the script calls it.
        """
        found = self._places(roots, parameters)
        if isinstance(found, str):
            self._problem = self._problem or found
        elif self.split is None:
            self.split = self._in_words(found, root_name or "the loss")
        return found

    def _places(self, roots: Sequence[Root], parameters: set[int]) -> list[GroupedTensor] | str:
        batch = self._batch()
        if isinstance(batch, str):
            return batch
        batch.look_up(self.key)
        if batch.problem is not None:
            return batch.problem
        try:
            groups = self._seats.fold(batch.ids, positive=self.key == TARGET)
        except ValueError as error:
            return str(error)
        places = places_of(roots, groups, parameters)
        shape = " x ".join(map(str, groups.codes.shape))
        return places or f"{NO_PLACE}: none is of a batch of {shape}; it has {batch.keys}"

    def _batch(self) -> _Batch | str:
        """The batch that the loss is of."""
        if not self._held:
            return NO_LOADER
        if self._now is None:
            sources, inputs = self._since
            called = [tensor for each in inputs if (tensor := each()) is not None]
            sets = [each for t in called if (each := [batch for batch in self._held if batch.holds(t)])]
            common = [batch for batch in sets[0] if all(batch in each for each in sets)] if sets else []
            single = [source for source in dict.fromkeys(sources) if source not in self._ahead]
            if not sets and len(single) == 1:
                common = [batch for batch in self._held if batch.source == single[0]][-1:]
            self._now = common[0] if len(common) == 1 else None
        return self._now or AMBIGUOUS

    def _in_words(self, places: Sequence[GroupedTensor], root: str) -> str:
        shapes = [" x ".join(map(str, output_shape(place.edge) or ())) for place in places]
        kinds = [place.edge[0].name().partition("Backward")[0] for place in places]
        where = " and ".join(dict.fromkeys(f"what {kind} makes ({s})" for kind, s in zip(kinds, shapes, strict=True)))
        counts = sorted(places[0].counts.items(), key=lambda pair: -pair[1])
        said = ", ".join(f"{name} {number}" for name, number in counts[:MOST_SAID])
        said += f" and {len(counts) - MOST_SAID} more" if len(counts) > MOST_SAID else ""
        mixed = mixes_examples(places)
        also = f"; examples act on each other through {', '.join(mixed)}: a group's is what enters by its own"
        of = "" if self._now is None else self._now.of
        return f"{root} split by {self.key}{of} at {where}; {places[0].unit}: {said}" + (also if mixed else "")

    def missing(self) -> list[str]:
        """What was asked for and has not been found, in words."""
        if self._asked is None or self.split is not None:
            return []
        return [f"--groups {self._asked}: {self._problem or NO_LOADER}"]
