"""What needs the live model: its evaluation under noise, and the effect of one task's step on the others' losses."""

from dominance.record.probes.lookahead import lookahead
from dominance.record.probes.noise import NoiseProbe

__all__ = ["NoiseProbe", "lookahead"]
