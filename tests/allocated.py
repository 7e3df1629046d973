"""What the allocator has given out: of each tensor, also of those within operators, on the CPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

from torch._C._profiler import _ExtraFields_Allocation
from torch.profiler import ProfilerActivity, profile, record_function

_MARK = "step begins"


def peaks(run: Callable[[], None]) -> list[int]:
    """The most bytes that tensors have had since each ``mark`` until the next, or the end."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        run()
        gc.collect()
    found, held = [0], 0
    for _, name, size in sorted(_events(told)):
        held += size
        if name:
            found.append(held)
        found[-1] = max(found[-1], held)
    return found[1:]


def mark() -> None:
    """A step begins."""
    with record_function(_MARK):
        pass


def _events(told: profile) -> Iterator[tuple[int, str, int]]:
    """When something happened; the mark, or nothing; and how many bytes were given out, or taken back."""
    waiting = list(told.profiler.kineto_results.experimental_event_tree())  # type: ignore[union-attr]
    while waiting:
        event = waiting.pop()
        waiting += event.children
        fields = event.extra_fields
        if isinstance(fields, _ExtraFields_Allocation):
            yield event.start_time_ns, "", fields.alloc_size
        elif event.name == _MARK:
            yield event.start_time_ns, _MARK, 0
