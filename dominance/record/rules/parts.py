"""What a tensor is the sum of."""

from __future__ import annotations

from collections.abc import Hashable

from torch import Tensor

Parts = dict[Hashable, Tensor]
THETA = "theta"
"""The part that the parameter itself is, before the step."""
