"""Models that follow each other in one process, as in a sweep: each has a recording of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from dominance.record import at_manual_step
from dominance.record.messages import close
from dominance.record.parameters import ParameterTable
from dominance.record.recording import Recording
from dominance.record.write.sink import Sink


class Following:
    """Which recording is at work, and those before it.

    Args:
        first: the recording of the first model.
        another: makes the sink of one more model, by its number from 2 on; None: there is only one.
    """

    def __init__(self, first: Recording, another: Callable[[int], Sink] | None) -> None:
        self.now = first
        """The recording of the model that trains now."""
        self.all = [first]
        """Those of all models that the script still has."""
        self.over: list[Recording] = []
        """Those of models that the script has let go; what they held of them is let go as well."""
        self._another = another

    def turn_to(self, tensors: Sequence[Tensor], every: Callable[[], Sequence[Tensor]] | None = None) -> None:
        """Go on with the recording of the model whose parameters these are, or begin the one of a new model.

        Args:
            tensors: some parameters of the model.
            every: gives all that the pass reaches; asked where none of the some is known.
        """
        if self._another is None or not self.now.begun or self.now.holds(tensors):
            return
        known = next((each for each in reversed(self.all) if each.holds(tensors)), None)
        if known is None and every is not None:
            reached = every()
            known = next((each for each in reversed(self.all) if each.holds(reached)), None)
            own = any(isinstance(tensor, nn.Parameter) for tensor in reached)
            if known is None and at_manual_step.replaced(self.now, reached):
                return
            if known is None and (own or (bool(reached) and self.now.bare)):
                known = self._begin(self._another)
        if known is not None:
            self.now = known

    def _begin(self, another: Callable[[int], Sink]) -> Recording:
        before = self.now
        sink = another(len(self.all) + len(self.over) + 1)
        others = list(self.all)
        # Other models have optimizers as well, by which this one would find their parameters.
        table = ParameterTable(elsewhere=lambda tensor: any(other.holds((tensor,)) for other in others))
        begun = Recording(before.options, sink, table, before.hooks, before.say)
        # Each process lets go of a model in its own time: what they put together, they do in the end.
        for each in [each for each in self.all if each.gone and not each.sink.in_parts]:
            at_manual_step.finish(each)
            close(each, ended="complete")
            each.let_go()
            self.all.remove(each)
            self.over.append(each)
        self.all.append(begun)
        return begun
