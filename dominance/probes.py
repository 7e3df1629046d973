"""What needs the live model: ``NoiseProbe`` and ``lookahead``.

>>> from dominance.probes import NoiseProbe, lookahead
"""

from dominance.record.probes import NoiseProbe, lookahead

__all__ = ["NoiseProbe", "lookahead"]
