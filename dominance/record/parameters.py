"""The parameters of the recorded model: their names, their layers, and the buffers beside them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType

from torch import Tensor, nn
from torch.optim import Optimizer

from dominance.record.live_objects import living, set_aside
from dominance.record.script_variables import names_of_variables
from dominance.record.sharded_models import Piece, leaf_of, meet, piece_of, views

# Modules that put a name of their own in front of every parameter of the model they wrap.
_WRAPPERS = {
    "DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule", "CheckpointWrapper",
}  # fmt: skip


@dataclass(frozen=True)
class Named:
    """One parameter tensor with its path in the model, and the path of the module that owns it.

    ``module`` says what kind of module that is, ``heads`` and ``head_dim`` what attention it is part of: see
    ``dominance.schema.Parameter``.
    """

    tensor: Tensor
    name: str
    layer: str
    module: str = "Tensor"
    heads: int = 0
    head_dim: int = 0


def named_parameters(module: nn.Module, prefix: str = "") -> Iterator[Named]:
    """The parameters of ``module`` by path, each once, without the prefixes of wrappers."""
    meet(module.modules())
    seen: set[int] = set()
    attention: dict[str, tuple[int, int]] = {}
    for path, owner, host in _modules(module, prefix):
        attention[path] = own = attention_of(owner)
        around = (attention.get(above, (0, 0)) for above in _above(path))
        heads = own if any(own) else next((each for each in around if any(each)), (0, 0))
        for name, held in owner._parameters.items():
            parameter = None if held is None else piece_of(held)
            if parameter is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                yield Named(parameter, f"{path}.{name}" if path else name, path or name, module_class(host), *heads)


_HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads", "nhead")
_HEAD_DIMS = ("head_dim", "attention_head_size", "key_value_proj_dim", "d_kv", "dim_head")
"""What the attention modules of torch, of transformers, timm, diffusers and of papers' code call the number of their
heads, and the width of one."""


def attention_of(module: nn.Module) -> tuple[int, int]:
    """How many heads a module says it has, and how wide one is; 0 where it does not say.

    Only plain numbers that are there are looked at: a property may do anything.
    """
    held = vars(module)
    found = (next((held[name] for name in names if type(held.get(name)) is int), 0) for names in (_HEADS, _HEAD_DIMS))
    heads, dim = (max(each, 0) for each in found)
    return heads, dim


def _above(path: str, most: int = 2) -> list[str]:
    """The paths of the modules around one: a projection lies right in its attention, or in a list there."""
    parts = path.split(".") if path else []
    return [".".join(parts[:end]) for end in range(len(parts) - 1, max(len(parts) - 1 - most, -1), -1)]


def module_class(module: nn.Module) -> str:
    """Name of the class of torch.nn that a module is or inherits from; "Module" where it is of a kind of its own."""
    bases = type(module).__mro__
    return next(base.__name__ for base in bases if base.__module__.startswith("torch.nn.modules."))


def _modules(module: nn.Module, path: str, host: nn.Module | None = None) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Path, module, and the module whose parameters these are: under ``parametrizations`` they are its host's."""
    yield path, module, host or module
    wraps = type(module).__name__ in _WRAPPERS
    for name, child in module._modules.items():
        if child is not None:
            inside = module if host is None and name == "parametrizations" else host
            yield from _modules(child, path if wraps else f"{path}.{name}" if path else name, inside)


def modules_by_path(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """``module`` and all inside it by path, without the prefixes of wrappers; a wrapper before what it wraps."""
    return ((path, inner) for path, inner, _ in _modules(module, ""))


class ParameterTable:
    """Every parameter that is recorded, by tensor; filled from a model, or by looking through the running program.

    Models are not kept alive: a script that lets one go and makes another has only the one in memory.

    Args:
        keep: keep them all the same, for probes after the training.
        elsewhere: whether a tensor is in another table: optimizers' parameters that are do not come into this one.
    """

    def __init__(self, *, keep: bool = False, elsewhere: Callable[[Tensor], bool] | None = None) -> None:
        self._elsewhere = elsewhere
        self.named: dict[Tensor, Named] = {}
        self._modules: list[weakref.ref[nn.Module]] = []
        self._owner: dict[Tensor, weakref.ref[nn.Module]] = {}
        self._kept: list[nn.Module] | None = [] if keep else None
        self.called: list[str] = []
        """What the script calls the models."""
        self.copied: set[Tensor] = set()
        """Parameters in whose place a copy is stepped and recorded."""

    @property
    def modules(self) -> list[nn.Module]:
        """The models that own the parameters, as far as the script still has them."""
        return [module for reference in self._modules if (module := reference()) is not None]

    def gone(self, parameters: Iterable[Tensor]) -> bool:
        """Whether the script has let every model go that owns one of these parameters."""
        owners = [self._owner[p] for p in parameters if p in self._owner]
        return bool(owners) and all(owner() is None for owner in owners)

    def _own(self, module: nn.Module, parameters: Iterable[Named]) -> None:
        reference = weakref.ref(module)
        self._modules.append(reference)
        self._owner |= {named.tensor: reference for named in parameters}
        if self._kept is not None:
            self._kept.append(module)

    def __len__(self) -> int:
        return len(self.named)

    @property
    def in_pieces(self) -> bool:
        """Whether each process has a piece of every parameter."""
        return any(isinstance(tensor, Piece) for tensor in self.named)

    def ids(self) -> set[int]:
        """The ids of the parameter tensors, as they lie in a graph."""
        return {id(leaf_of(tensor)) for tensor in self.named}

    def trainable(self) -> list[Tensor]:
        """Parameters that need gradient now: freezing and unfreezing may change them."""
        return [tensor for tensor in self.named if tensor.requires_grad]

    def owned(self, tensor: Tensor) -> bool:
        """Whether a model owns this tensor."""
        named = self.named.get(tensor)
        return named is not None and named.module != "Tensor"

    def owned_by(self, module: nn.Module) -> list[Named]:
        """The parameters that this model had when they were found."""
        return [self.named[p] for p, owner in self._owner.items() if owner() is module and p in self.named]

    def put(self, old: Tensor, new: Tensor) -> None:
        """``new`` is in the place of ``old``, which the model has no more."""
        self.named = {
            new if p is old else p: replace(named, tensor=new) if p is old else named for p, named in self.named.items()
        }
        self._owner[new] = self._owner.pop(old)

    def linear(self, parameters: Iterable[Tensor]) -> str | None:
        """Path of the linear map whose parameters these are, where there is one."""
        named = [self.named.get(piece_of(parameter)) for parameter in parameters]
        paths = {each.layer if each and each.module == "Linear" and each.layer != each.name else None for each in named}
        return paths.pop() if len(paths) == 1 else None

    def stand_in(self, copy: Tensor, original: Tensor) -> None:
        """Record ``copy``, which the optimizer steps, under the name of the model's parameter."""
        self.named[copy] = replace(self.named[original], tensor=copy)
        self.copied.add(original)

    def add_model(self, model: nn.Module) -> None:
        """Take every parameter of ``model``."""
        every = list(named_parameters(model))
        self._own(model, every)
        self.called.append("model")
        for named in every:
            self.named.setdefault(named.tensor, named)

    def discover(self, wanted: Iterable[Tensor], frames: Iterable[FrameType]) -> list[Optimizer]:
        """Find the modules that own ``wanted`` and the parameters of every optimizer, and name them.

        Where several models hold them, a model's name is the script's variable; a bare tensor's name is its variable.
        Returns the optimizers found.
        """
        wanted = list(wanted)
        modules, optimizers = _models_and_optimizers(wanted)
        meet(modules)
        optimizers = views(optimizers)
        held = [p for opt in optimizers for group in getattr(opt, "param_groups", []) for p in group["params"]]
        roots = _outermost(modules)
        tensors = self._to_name(held, wanted, roots)
        missing = {id(tensor): tensor for tensor in tensors if tensor not in self.named}
        owners = _owners(roots, missing)
        owned = {id(named.tensor) for _, found in owners for named in found}
        unowned = [tensor for key, tensor in missing.items() if key not in owned]
        variables = names_of_variables(frames)
        taken = {word for named in self.named.values() for word in (named.name, named.layer, named.layer.split(".")[0])}
        self._name_owned(_in_order(owners, tensors), variables, taken)
        self._name_bare(_parameters_among(unowned, held, alone=not owners), variables, taken)
        return optimizers

    def _to_name(self, held: Sequence[Tensor], wanted: Sequence[Tensor], roots: Sequence[nn.Module]) -> list[Tensor]:
        """First what optimizers hold, in their order; then what the loss reaches besides."""
        tensors = [tensor for tensor in held if self._elsewhere is None or not self._elsewhere(tensor)]
        tensors += wanted
        listed = {id(tensor) for tensor in held}
        if not any(id(tensor) in listed for tensor in wanted):
            tensors += _beside(roots, wanted)
        return tensors

    def _name_owned(
        self, owners: Sequence[tuple[nn.Module, list[Named]]], variables: Mapping[int, str], taken: set[str]
    ) -> None:
        """By their paths; behind the model's variable where there are several models."""
        alone = len(owners) == 1 and not self.named
        for position, (root, found) in enumerate(owners):
            self._own(root, found)
            called = variables.get(id(root), f"{type(root).__name__.lower()}{position + 1}")
            # Two frames may call two models by one name.
            prefix = "" if alone else _unused(called, taken)
            self.called.append(prefix or called)
            for named in found:
                self.named[named.tensor] = named if alone else _prefixed(named, prefix)
            taken |= {prefix} | {self.named[named.tensor].name for named in found}

    def _name_bare(self, tensors: Iterable[Tensor], variables: Mapping[int, str], taken: set[str]) -> None:
        """By their variables."""
        for position, tensor in enumerate(tensors):
            name = _unused(variables.get(id(tensor), f"tensor{position + 1}"), taken)
            taken.add(name)
            self.named[tensor] = Named(tensor, name, name)


def _outermost(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """Those that are inside no other."""
    inner = {id(child) for module in modules for child in module._modules.values() if child is not None}
    return [module for module in modules if id(module) not in inner]


def _owners(roots: Iterable[nn.Module], missing: Mapping[int, Tensor]) -> list[tuple[nn.Module, list[Named]]]:
    """The models that hold the tensors, each tensor in one: in that which holds most of them."""
    holding = [(root, [n for n in named_parameters(root) if id(n.tensor) in missing]) for root in roots]
    owners: list[tuple[nn.Module, list[Named]]] = []
    given: set[int] = set()
    for root, found in sorted(holding, key=lambda pair: -len(pair[1])):
        fresh = [named for named in found if id(named.tensor) not in given]
        if fresh:
            owners.append((root, fresh))
            given |= {id(named.tensor) for named in fresh}
    return owners


def _parameters_among(tensors: Iterable[Tensor], held: Iterable[Tensor], *, alone: bool) -> list[Tensor]:
    """Without what is no parameter: a matrix that no optimizer and no model owns is an input that needs gradient.

    Args:
        tensors: that no model owns.
        held: what optimizers hold.
        alone: there is no model; then, without an optimizer, all are parameters.
    """
    listed = {id(tensor) for tensor in held}
    scratch = alone and not listed
    return [t for t in tensors if id(t) in listed or isinstance(t, nn.Parameter) or t.dim() < 2 or scratch]


def _models_and_optimizers(wanted: Sequence[Tensor]) -> tuple[list[nn.Module], list[Optimizer]]:
    """All there are in this process; where no model has these tensors, also those that ``gc.freeze()`` set aside."""

    def is_one(kind: type) -> bool:
        return issubclass(kind, (nn.Module, Optimizer))

    found = living(is_one)
    owned = {id(p) for each in found if issubclass(type(each), nn.Module) for p in each._parameters.values()}
    if any(id(tensor) not in owned for tensor in wanted):
        there = {id(each) for each in found}
        found += [each for each in set_aside(is_one) if id(each) not in there]
    modules = [each for each in found if issubclass(type(each), nn.Module)]
    return modules, [each for each in found if not issubclass(type(each), nn.Module)]


def _beside(roots: Iterable[nn.Module], wanted: Iterable[Tensor]) -> list[Tensor]:
    """What the models of these tensors train besides: where no optimizer lists the parameters, a loss does not reach
    those below a checkpoint of the old kind either, whose graph is made in the backward pass."""
    ids = {id(tensor) for tensor in wanted}
    every = [[n.tensor for n in named_parameters(root)] for root in roots]
    mine = [tensors for tensors in every if any(id(tensor) in ids for tensor in tensors)]
    return [tensor for tensors in mine for tensor in tensors if tensor.requires_grad and id(tensor) not in ids]


def _unused(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}{number}", number + 1
    return found


def _in_order(
    owners: list[tuple[nn.Module, list[Named]]], tensors: list[Tensor]
) -> list[tuple[nn.Module, list[Named]]]:
    """Models in the order in which the optimizers list their parameters, as a person would write them."""
    place = {id(tensor): position for position, tensor in reversed(list(enumerate(tensors)))}
    return sorted(owners, key=lambda owner: min(place[id(named.tensor)] for named in owner[1]))


def _prefixed(named: Named, prefix: str) -> Named:
    own = named.layer == named.name
    layer = prefix if own else f"{prefix}.{named.layer}"
    return replace(named, name=f"{prefix}.{named.name}", layer=layer)
