"""Which files belong to an installed package, and not to the script."""

from __future__ import annotations

import os
import sysconfig
from functools import lru_cache

_STANDARD = tuple(os.path.join(sysconfig.get_path(kind), "") for kind in ("stdlib", "platstdlib"))
_PACKAGES = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))


@lru_cache(maxsize=4096)
def is_installed(path: str) -> bool:
    """Whether a file is the standard library's or a package's."""
    return path.startswith(_STANDARD) or any(folder in path for folder in _PACKAGES)
