"""How much memory a process has used at most."""

from __future__ import annotations

import sys
from typing import Any


def peak_memory() -> dict[str, int]:
    """Bytes, at most, of the process and of each GPU that torch has used; a system that does not say is left out."""
    found: dict[str, int] = {}
    try:
        import resource
    except ImportError:  # Windows has none
        pass
    else:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found["process"] = used if sys.platform == "darwin" else 1024 * used
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        for number in range(torch.cuda.device_count()):
            found[f"cuda:{number}"] = int(torch.cuda.max_memory_allocated(number))
    return found
