"""Where a number becomes a finding: every threshold of the verdict, with its reason. Nothing is decided elsewhere."""

from __future__ import annotations

import math

LEAST_STEPS = 20
"""Usable steps below which nothing is judged: ten stretches of two steps are the least that give a standard error, and
the first steps of a training (large gradients, empty momenta) are unlike what follows."""

EARLY = 0.5
"""Part of the training within which, as within its first ``LEAST_STEPS``, the last step looked at must not lie for a
finding to be sure: the probabilities tell how the steps looked at vary, not what comes after them."""

LEAST_LOSSES = 60
"""Usable steps below which the course of the losses is no evidence of harm: a task that learns slowly has not begun."""

STRETCHES = 10
"""Stretches of steps whose means stand for independent values. Steps are not: momentum alone ties some ten together."""

OWNED = 0.5
"""A task owns a layer when the rAU of more than this share of its parameters is over 80 %: most of them, literally."""

HOLDS = 0.8
"""A task also owns a layer when it holds more than this share of the squared updates: four times all others together,
the bound of the paper's last bucket. It speaks where rAU wavers, as when a task takes part once in many steps."""

UNHEARD = 0.25
"""A task is hardly heard when its squared updates are under this part of the mean of the others': the same four to one.
With two tasks this is the other's ownership; with more it is a fact of its own."""

LESS = 0.5
"""A group of examples with less than ``UNHEARD`` of the others' examples is hardly heard when its squared updates are
under this part of the mean of the others': how many examples it has is known, and needs no margin."""

VARIES = 0.5
"""Part of the variance of the others' examples' gradients from which on those of a group vary as much: a group that has
been learned has less."""

STALLED = 0.25
"""A group has learned next to nothing when, one for one, no more than this part of the share by which the others'
losses fell is gone of its own; four to one, as everywhere."""

LEARNED = 0.5
"""Part of the others' loss, one for one and in the later half, under which a group is called learned."""

MINOR = 0.05
"""Layers with less than this share of the shared parameters are no finding of their own: among many small ones, such
as the tables of embeddings, some task always owns one."""

CONFLICT = 4 / 3
"""Mean GCD from which two tasks conflict: of two gradients of equal length each then undoes a third of the other's
descent. Means up to about 1.25 are common among tasks that train well together, while the trunk is short of room."""

LEANS = 1.1
"""Mean GCD from which a pair is mentioned, without alarm, if it is surely above 1."""

CAUSE = 2.0
"""A cause counts when it makes the squared updates this many times as large as the others'. An owner has four times
theirs: half of that on the scale on which factors multiply."""

MAIN = 4 ** (1 / 3)
"""Where no cause counts, the largest is named from here on. An owner's four times are a product of three factors, of
which the largest is at least this."""

CHANCE = 0.5
"""Probability below which a cause is said to be perhaps none: its factor is then more likely under ``CAUSE``."""

SEEN = 2.0
"""Standard errors that a signal must stand out from 0 to count as seen: by chance one in forty does."""

LEAST_WINDOWS = 4
"""Windows of ``noise_scale`` in which a signal is looked for: fewer give no error worth the name."""

FEWER = 2.0
"""Ratio of touched coordinates from which a layer's rows are seen by one task and seldom by others."""

SURE, LIKELY = 0.99, 0.9
"""Probabilities from which a finding is called sure, or likely; below, weak. A weak one raises no alarm."""

HARMS = 0.05
"""Relative loss against single-task training from which a task is said to suffer; less is within what two seeds of one
training commonly differ by."""

STALLS, FALLS = 0.05, 0.25
"""A loss stalls when less than the first share of it has gone, and falls when more than the second has. Tasks in
conflict that both fall are told of, without alarm: their gradients oppose each other at last wherever a trunk is short
of room, and that is how a compromise looks."""

SETTLED = 0.25
"""First part of a run that shares of squared updates leave out: its steps are unlike what follows."""

NOBODYS = 0.05
"""Share, by length, from which a part that is no task's is told of: of a gradient, for which no task and no regulariser
with a name accounts, or of what the parameters do outside the optimizer's step. Half precision leaves up to 0.005 of a
gradient between the sum of the tasks' and what was fed; a loss that is missing or counted twice leaves far more."""

CLOSES = 0.01
"""Closure from which the parts of a step do not add up to it. Float32 leaves at most 0.0005 of a parameter's largest
movement; what the spacing of theta hides is taken off before it is stored."""

UNSEEN = 0.316, 0.5
"""Share, by length, of unattributed momentum in the updates of a layer (a tenth of the squares, as ``PreparedRun`` has
it), and the share of the steps from which on that is more than the start of each burst."""

SOME = 0.05
"""Share of the steps at which the books may be off without the verdict being taken back: then it is a note."""

ALIKE, APART = 1.25, 10.0
"""Solo updates do not follow the tasks' gradients, but the optimizer's state or a norm that it gives to every step,
where the longest is no more than the first factor times the shortest, while the gradients differ by the second."""


def certainty(probability: float) -> str:
    """In one word; "" where there is no probability.

    >>> certainty(0.999), certainty(0.95), certainty(0.7), certainty(float("nan"))
    ('sure', 'likely', 'weak', '')
    """
    if math.isnan(probability):
        return ""
    return "sure" if probability >= SURE else "likely" if probability >= LIKELY else "weak"
