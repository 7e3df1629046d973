"""Which scalar belongs to which task: named by the user, or found in the autograd graph of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from dominance.record import answers
from dominance.record.tasks.by_difference import by_difference
from dominance.record.tasks.columns import below_columns, columns_before
from dominance.record.tasks.evidence import Evidence
from dominance.record.tasks.found import Found, FoundTask, WeightedTerms, tasks_of
from dominance.record.tasks.graph import Edge, head, output_shape, positions_above, reach
from dominance.record.tasks.grouped import GroupedTensor, found_of_shares, places_told
from dominance.record.tasks.heads import Heads
from dominance.record.tasks.labels import Label, TermLabeller, Unnamed, all_known, entry_of, groups, held_positions
from dominance.record.tasks.naming import Names
from dominance.record.tasks.observed import found_of_observed
from dominance.record.tasks.questions import Noted, noting
from dominance.record.tasks.remembered import Remembered, TakenApart, TaskPlan, look_at, made_in_turn
from dominance.record.tasks.same_loss import LossSources
from dominance.record.tasks.sources import GENERIC
from dominance.record.tasks.splitting import Term
from dominance.record.tasks.stacked import Stacked
from dominance.record.tasks.terms import TermFinder
from dominance.record.tasks.values import term_value
from dominance.record.tasks.weights import Root, exact_weights, picks

__all__ = ["Found", "FoundTask", "Root", "TaskFinder", "Unnamed", "exact_weights"]

_MOST_PLANS = 500


class TaskFinder:
    """Splits the loss of each recorded step into tasks, and gives the same names to the same structure every time.

    Args:
        wanted: the names that the user asked for; terms of other names are then residual.
    """

    def __init__(self, wanted: Sequence[str] | None = None) -> None:
        self._wanted = None if wanted is None else tuple(wanted)
        self._plans: dict[tuple[object, ...], TaskPlan] = {}
        self._remembered = Remembered()
        self._by_item: dict[tuple[tuple[str, int], str | None], bool] = {}
        self._heads: dict[str, dict[frozenset[int], str]] = {}
        self._reached: dict[str, frozenset[int]] = {}
        self._terms = TermFinder()
        self._labeller = TermLabeller()
        self._loaded = False
        """Whether any loss that came up is made from data."""
        self._told_apart = Heads()
        self._stacked = Stacked()
        self.called: dict[str, str] = {}
        """Names of tasks for which later losses have given a better one, and that."""
        self.sources = LossSources()
        """Where the script makes the loss of each task."""
        self.expand = True
        """Whether a loss that is one named sum is taken apart; not so when every task has its own backward()."""

    @property
    def lines_asked(self) -> bool:
        """Whether a loss of new structure came up that only its source lines can name: recorded forwards keep them."""
        return self._labeller.lines_asked

    def find(
        self,
        roots: Sequence[Root],
        names: Names,
        parameters: set[int],
        observed: Mapping[str, Tensor],
        places: Sequence[GroupedTensor] = (),
        *,
        taken: bool = False,
    ) -> Found:
        """Tasks of one backward() call.

        Args:
            roots: the outputs that backward() was called on.
            names: the live tensors around the call.
            parameters: ids of the parameters that can get a gradient from the call.
            observed: task name -> loss, as the user told with ``observe``; empty when not told.
            places: where groups of examples are told apart; none where they are not.
            taken: whether the script is handed the gradients, and ``.grad`` is not. What it takes the gradient of may
                be anything then: a function of the parameters alone is no task beside losses that are made from data.
        """
        places = [*places_told(observed), *places]
        look = None if places or observed or taken else look_at(roots, names, (self.expand, frozenset(parameters)))
        apart = None if look is None else self._remembered.recall(look)
        noted: Noted = {}
        if apart is None:
            with noting(noted):
                self._stacked.add_to(names, [root.edge for root in roots])
                root_name = self._live_name(roots[0].edge, names)
        else:
            root_name = apart.root_name
        found_apart = [] if apart is None else [apart]

        def whole() -> Found:
            if not found_apart:
                with noting(noted):
                    made = self._apart(roots, names, parameters, root_name, taken=taken)
                if isinstance(made, Found):
                    return made
                found_apart.append(made)
            return self._weighed(found_apart[0], roots, names)

        called_on = [(root.tensor.detach() * root.gradient).sum() for root in roots if root.tensor is not None]
        with answers.asking(called_on):
            answers.soon(called_on)
            if places:
                found = found_of_shares(roots, places, parameters, root_name, whole)
            elif observed:
                found = found_of_observed(roots, parameters, observed, root_name)
            else:
                found = whole()
            found.total = sum(map(answers.value, called_on)) if called_on else math.nan
        if apart is None:
            self._remembered.learn(look, found_apart, noted)
        self.sources.learn(found)
        if len(roots) == 1:
            self.sources.learn_sum(roots[0].edge[0], found)
        return found

    def _live_name(self, edge: Edge, names: Names) -> str | None:
        """What the script calls the loss that backward() is called on, if it has a name."""
        variable = names.variables.get(edge)
        picked = entry_of(edge, names.vectors)
        if picked is not None:
            return self._entry_name(edge, *picked, names)
        item = names.items.get(edge)
        further_out = names.outer.get(edge, ())
        if (item is None or item[2]) and (variable is None or variable.lower() in GENERIC or variable in further_out):
            # A function's word for any loss, or a place in its list of them: its caller may know which one it is.
            telling = [name for name in further_out if name.lower() not in GENERIC]
            if telling:
                return telling[0]
        if item is not None:
            # `for loss in losses: loss.backward()` names tasks by the list; a list that only collects the history of
            # one loss is still short when the line is first reached, and does not.
            several = self._by_item.setdefault((names.place, variable), names.sizes[item[0]] > 1)
            if several or variable is None:
                return item[1]
        return variable

    @staticmethod
    def _entry_name(edge: Edge, vector: Edge, place: int, names: Names) -> str:
        """The name of a loss that was picked out of a vector: one loop variable for all of them is none."""
        variable = names.variables.get(edge)
        beside = [other for other in names.variables if other != edge and entry_of(other, {vector: ""}) is not None]
        if variable is not None and beside and variable.lower() not in GENERIC:
            return variable
        if vector[0].name() == "StackBackward0":
            given = vector[0].next_functions[place]
            if given in names.variables:
                return names.variables[given]
        size = (output_shape(vector) or (0,))[0]
        lists = [words for words in names.task_lists if len(words) == size]
        return lists[0][place] if len(lists) == 1 else f"{names.vectors[vector]}[{place}]"

    def _apart(
        self,
        roots: Sequence[Root],
        names: Names,
        parameters: set[int],
        root_name: str | None,
        *,
        taken: bool,
        one: bool = False,
    ) -> TakenApart | Found:
        """How the roots come apart, by their graph and the names around; or what they are found to be without that."""
        if len(roots) == 1 and (word := _handed_on(roots[0], names)) is not None:
            return Found(root_name or "output", [], [names.vectors.get(roots[0].edge, "output")], words=[word])
        touches = Evidence(parameters)
        loaded = any(touches(root.edge[0]) for root in roots)
        if taken and self._loaded and not loaded:
            return Found(root_name or "loss", [], [])
        self._loaded |= loaded
        whole = one or not self.expand or (len(roots) == 1 and picks(roots[0]) and root_name is not None)
        if root_name is not None and root_name.lower() not in GENERIC:
            # A penalty with a name and a backward() of its own is one task, whatever it adds up.
            whole = whole or not loaded
        nameless = False
        terms, expanded = self._terms.terms(roots, names, parameters, touches, whole=whole and root_name is not None)
        if whole and root_name is None and not all_known(terms, names):
            # A sum that has no name, of terms that have none, is the loss of one task.
            nameless = sum(1 for term in terms if touches(term.node)) > 1
            terms, expanded = self._terms.terms(roots, names, parameters, touches, whole=True)
        only = self._only(roots, terms, names, parameters, root_name)
        if only is not None and not terms[0].path:
            root_name = only
        reached = reach([term.node for term in terms], parameters)
        chosen = names.choose([term.edge for term in terms])
        shape = ((t.path, t.kind, name, r) for t, (name, _), r in zip(terms, chosen, reached, strict=True))
        made = made_in_turn(terms, [name for name, _ in chosen], reached)
        signature = (only, made, *shape)
        plan = self._plans.get(signature)
        # Of a lone term the name may hang on what is learned later; and so do the names of what has not come up before.
        lasting = plan is not None and len(terms) > 1
        if plan is None:
            labels = self._labels(terms, names, parameters, only, touches)
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            plan = self._plans[signature] = self._plan(terms, labels, reached, touches, names)
            plan.one = len(roots) == 1 and self._is_one(plan, labels, root_name)
        if plan.one and not one:
            return self._apart(roots, names, parameters, root_name, taken=taken, one=True)
        anonymous = all(name is None for name, _ in chosen)
        return TakenApart(root_name, terms, reached, plan, expanded, nameless, anonymous, lasting, made)

    def _weighed(self, apart: TakenApart, roots: Sequence[Root], names: Names) -> Found:
        """The tasks of a loss that comes apart so, with their weights and values."""
        plan, terms, root_name = apart.plan, apart.terms, apart.root_name
        tasks = self._tasks(plan.tasks, roots, apart, names)
        by_difference(tasks, roots, terms)
        if tasks and all(task.weight < 0 for task in tasks) and apart.anonymous:
            # What is maximised, and has no name of the script's: the loss is its negative.
            for task in tasks:
                task.weight, task.loss = -task.weight, -task.loss
        every = tasks
        tasks, separate = self._sharing(plan, tasks, apart)
        beside = self._tasks(plan.beside, roots, apart, names) + [task for task in every if task not in tasks]
        columns = columns_before(terms[0].node) if len(tasks) == len(terms) == 1 else None
        name = root_name or (tasks[0].name if len(tasks) == 1 else "loss")
        expanded = apart.expanded
        found = Found(name, tasks, plan.residual, separate, expanded, words=plan.words, beside=beside, columns=columns)
        found.nameless_sum = apart.nameless
        if len(tasks) == len(plan.tasks) and not (beside or separate or plan.residual):
            found.structure = plan
        found.below_columns = [] if columns is None else below_columns(terms[0].node)
        return found

    @staticmethod
    def _tasks(
        groups: Sequence[tuple[str, list[int]]], roots: Sequence[Root], apart: TakenApart, names: Names
    ) -> list[FoundTask]:
        """Groups of terms, each with its exact weight and its value."""
        terms = apart.terms
        needed = tuple(position for _, positions in groups for position in positions)
        edges = [terms[i].edge for i in needed]
        if needed not in apart.above:
            apart.above[needed] = positions_above(edges)
        weights = dict(zip(needed, exact_weights(roots, edges, apart.above[needed]), strict=True))
        # A root that picks one loss out of a vector of them passes no gradient to the others.
        one_of_several = picks(roots[0])
        whole = {root.edge: root.tensor.detach() for root in roots if root.tensor is not None}
        found = []
        for name, positions in groups:
            weighted = [(terms[i].edge, weights[i]) for i in positions]
            held = [(edge, weight) for edge, weight in weighted if weight is not None]
            if not held or (one_of_several and not any(bool(weight.any()) for _, weight in held)):
                continue
            values = [whole.get(edge, names.value(edge)) for edge, _ in held]
            values = [term_value(e[0]) if v is None else v for (e, _), v in zip(held, values, strict=True)]
            found.append(WeightedTerms(name, [edge for edge, _ in held], [weight for _, weight in held], values))
        return tasks_of(found)

    def _labels(
        self, terms: list[Term], names: Names, parameters: set[int], only: str | None, touches: Evidence
    ) -> list[Label]:
        if only is not None:
            return [Label(only, False)]
        live = self._terms.live(names, touches)
        inner: dict[Edge, list[str]] = {}
        for term in terms:
            if not names.is_known(term.edge):
                found = names.choose([each.edge for each in live.named_below(term)])
                inner[term.edge] = [name for name, _ in found if name is not None]
        return self._labeller.labels(terms, names, parameters, inner)

    def _plan(
        self,
        terms: list[Term],
        labels: list[Label],
        reached: Sequence[frozenset[int]],
        touches: Evidence,
        names: Names,
    ) -> TaskPlan:
        loaded = [i for i, term in enumerate(terms) if touches(term.node)]
        # Where no term touches data (a loss that is a function of the parameters alone) all of them are tasks, unless
        # several are losses that the script holds: the rest is what it weights them with.
        candidates = loaded or held_positions(terms, names)
        if len(candidates) < 2 and not loaded:
            candidates = list(range(len(terms)))
        found = groups(terms, candidates, labels, repeats=bool(loaded))
        found = self._told_apart.told_apart(found, terms, names, [label.place for label in labels])
        found = [(name, members) for name, members in found if any(reached[i] for i in members)]
        separate: list[str] = []
        whole = found
        if len(found) > 1:
            sets = [frozenset().union(*(reached[i] for i in members)) for _, members in found]
            apart = [
                name
                for position, (name, _) in enumerate(found)
                if not any(sets[position] & other for j, other in enumerate(sets) if j != position)
            ]
            if len(apart) < len(found):
                separate = apart
                found = [group for group in found if group[0] not in apart]
        grouped = {i for _, members in found for i in members}
        together = frozenset().union(*(reached[i] for i in grouped))
        rest = [i for i in range(len(terms)) if i not in grouped and reached[i] & together and i not in candidates]
        residual = list(dict.fromkeys(labels[i].name for i in rest))
        beside = [(labels[i].name, [i]) for i in rest]
        beside += [group for group in whole if group[0] in separate]
        if self._wanted is not None and all(name in [group for group, _ in found] for name in self._wanted):
            residual += [name for name, _ in found if name not in self._wanted]
            beside += [group for group in found if group[0] not in self._wanted]
            found = [group for group in found if group[0] in self._wanted]
        return TaskPlan(found, residual, separate, beside)

    def _is_one(self, plan: TaskPlan, labels: Sequence[Label], root_name: str | None) -> bool:
        """Whether all terms are of one task that no statement names, and their sum has a name that says what it is."""
        if root_name is None or root_name.lower() in GENERIC or len(plan.tasks) != 1:
            return False
        ((name, members),) = plan.tasks
        # The others may have the label of the first, which they look like.
        nameless = len(members) == len(labels) > 1 and labels[members[0]].place is not None
        return nameless and name not in self._reached

    def _sharing(self, plan: TaskPlan, tasks: list[FoundTask], apart: TakenApart) -> tuple[list[FoundTask], list[str]]:
        """Leave out a loss that reaches no parameter that other tasks share: one that trains the loss weights, say.

        Not so several losses that share a network: theirs is trained beside the others'.
        """
        reached = apart.reached
        sets = {name: frozenset().union(*(reached[i] for i in members)) for name, members in plan.tasks}
        others = [each for name, each in self._reached.items() if name not in sets]
        known = frozenset().union(*others)
        share = any(one & two for i, one in enumerate(others) for two in others[:i])
        strange = [] if not share else [name for name, each in sets.items() if not each & known]
        if len(strange) < len(sets) and len(sets) > 1:
            strange = []
        if len(strange) > 1 and frozenset.intersection(*sets.values()):
            first = [apart.terms[members[0]].node for _, members in plan.tasks]
            strange = [] if all(head(node, frozenset().union(*sets.values())) for node in first) else strange
        self._reached |= {name: each for name, each in sets.items() if name not in strange}
        return [task for task in tasks if task.name not in strange], [*plan.separate, *strange]

    def _only(
        self, roots: Sequence[Root], terms: Sequence[Term], names: Names, parameters: set[int], root_name: str | None
    ) -> str | None:
        """The name of the one loss that backward() is called on, as it is or with a weight in front."""
        if not len(roots) == len(terms) == 1:
            return None
        name = root_name
        if terms[0].path:
            (held, in_order), *_ = names.choose([terms[0].edge])
            if held is not None and not in_order and held.lower() not in GENERIC:
                return None
            name = self._live_name(terms[0].edge, names)
        known = self._labeller.remembered(terms[0])
        if name is not None and name.lower() in GENERIC and known is not None:
            # It is alone in this batch, under the word for the sum.
            return known.name
        return None if name is None else self._by_head(name, roots[0].edge, names, parameters)

    def _by_head(self, name: str, edge: Edge, names: Names, parameters: set[int]) -> str:
        """Tell the tasks of one variable apart, where each has its own backward(): by the heads that they reach."""
        own = head(edge[0], parameters)
        known = self._heads.setdefault(name, {})
        for other, label in known.items():
            if other & own or not own:
                return label
        if not own:
            return name
        key = names.key_of(own)
        spoken = key is not None and key in names.words
        if spoken or (key is not None and name.lower() in GENERIC and known):
            label = str(key)
        else:
            label = f"{name}.{len(known) + 1}" if known else name
        if label == key and known:
            self._call_first(name, known, names)
        known[own] = label
        return label

    def _call_first(self, name: str, known: Mapping[frozenset[int], str], names: Names) -> None:
        """The first of several that one variable held has the variable's name; it is called after its head as well."""
        first = next(own for own in known)
        key = names.key_of(first)
        if known[first] == name and key is not None and key not in known.values():
            self.called.setdefault(name, key)


def _handed_on(root: Root, names: Names) -> str | None:
    """What to say where backward() is called on an output of a network, with a gradient that is no weight."""
    shape = output_shape(root.edge)
    if shape is None or len(shape) < 2 or root.gradient.numel() < 2:
        return None
    gradient = root.gradient.detach()
    if bool((gradient == gradient.flatten()[0]).all()):
        return None
    called = names.vectors.get(root.edge, f"an output of shape {tuple(shape)}")
    return f"a gradient made by hand was passed on through {called}: no task that was found holds what it gives"
