"""mypy's view of libraries that type a result as whatever it may be, as tests may take it: as anything.

A run's ``["update/total"]`` is an array or a node of the tree, a submodule a tensor or a module, ``sum(losses)`` a
tensor or 0. A test knows which, and fails where it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.plugin import AttributeContext, FunctionContext, MethodContext, Plugin
from mypy.types import AnyType, Type, TypeOfAny, UnionType, get_proper_type

METHODS = {
    "torch.nn.modules.container.Sequential.__getitem__",
    "torch.nn.modules.container.ModuleList.__getitem__",
    "torch.nn.modules.container.ModuleDict.__getitem__",
    "xarray.core.datatree.DataTree.__getitem__",
    "zarr.core.group.Group.__getitem__",
}
ANYTHING = AnyType(TypeOfAny.special_form)


def anything(_: object) -> Type:
    return ANYTHING


def of_union(context: FunctionContext) -> Type:
    found = context.default_return_type
    return ANYTHING if isinstance(get_proper_type(found), UnionType) else found


def attribute(context: AttributeContext) -> Type:
    found = context.default_attr_type
    return ANYTHING if isinstance(get_proper_type(found), UnionType) else found


class LooseUnions(Plugin):
    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        return anything if fullname in METHODS else None

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return {"builtins.sum": of_union, "torch.compile": anything}.get(fullname)

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        return attribute if fullname.startswith("torch.nn.modules.module.Module.") else None


def plugin(_: str) -> type[Plugin]:
    return LooseUnions
