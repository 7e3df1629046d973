"""The words of the first page, against runs made by hand."""

from __future__ import annotations

import numpy as np
import torch
from runs import make_run, planted_run

from dominance.analyse.summary import overview
from dominance.record.split.given import hyper_parameters
from dominance.reports.facts import HEADER, RIGHT, WIDTHS, facts, glossary, name_of, table


def by_hand():
    """Two layers of two coordinates. Task a owns all of "one"; "two" is shared alike, with opposed gradients."""
    updates = np.array([[[1.0, 1.0, 1.0, 0.0], [0.1, 0.1, -1.0, 0.0]]] * 3)
    return make_run(updates, layers={"one": 2, "two": 2})


def test_one_row_for_each_shared_layer_and_the_trunk_first():
    run = by_hand()
    rows = {row[0]: row[1:] for row in table(run, overview(run))}
    assert list(rows) == ["all shared", "one", "two"]
    assert rows["one"] == ["2", "a 100 %", "1.06 of 2", "0 %", "a 99 %", "a × b 0.00"]
    # In "two" one coordinate was never moved; the other is moved alike: two effective tasks, and nobody's.
    assert rows["two"] == ["2", "none", "2.00 of 2", "50 %", "a 50 %", "a × b 2.00"]
    assert rows["all shared"][:2] == ["4", "a 67 %"]
    assert rows["all shared"][3:5] == ["25 %", ""]


def test_private_layers_have_no_row():
    run = planted_run(steps=3)
    assert [row[0] for row in table(run, overview(run))] == ["all shared", "trunk.0", "trunk.1"]


def test_columns_fill_the_page():
    assert len(HEADER) == len(WIDTHS) == len(RIGHT)
    assert sum(WIDTHS) <= 7.2 + 1e-9


def test_words_are_explained_where_they_matter():
    plain = dict(glossary(planted_run(steps=3)))
    assert {"rAU", "GCD", "weight", "additive"} <= set(plain)
    assert not {"residual", "solo", "unattributed", "outside"} & set(plain)
    full = np.full((3, 740), 0.1)
    run = planted_run(steps=3, residual_gradient=full, unattributed=full, outside=full)
    assert {"residual", "unattributed", "outside"} <= set(dict(glossary(run)))


def test_what_was_recorded_in_words():
    run = planted_run(steps=20, weight=np.tile([1.0, 0.5], (20, 1)))
    run.attrs |= {
        "path": "/somewhere/runs/digits-1",
        "argv": ["train.py", "--name", "two words"],
        "residual_terms": ["l2"],
        "schedule": {"every": 10, "burst": 3},
        "optimizers": [{"class": "Adam", "groups": [{"lr": 0.001}, {"lr": 0.1}], "note": ""}],
        "versions": {"torch": "2.13"},
        "steps_taken": 200,
        "status": "interrupted",
    }
    said = dict(facts(run))
    assert name_of(run) == "digits-1"
    assert said == {
        "script": "train.py --name 'two words'",
        "tasks": "price (weight 1), rating (weight 0.5)",
        "residual": "l2",
        "steps": "20 recorded, numbers 0 to 19, of 200 taken",
        "schedule": "one step in 10, 3 in a row",
        "layers": "4, of which 2 shared",
        "parameters": "740, all kept; norms and GCD are exact over all",
        "optimizer": "Adam, learning rate 0.001, 0.1",
        "attribution": "additive",
        "versions": "torch 2.13",
        "status": "interrupted",
    }


def test_a_rate_that_one_cycle_raises_is_told_with_its_largest():
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.5)  # which OneCycleLR replaces
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=100)
    run = make_run(np.ones((1, 2, 3)))
    run.attrs["optimizers"] = [{"class": "Adam", "groups": hyper_parameters(optimizer), "note": ""}]
    assert dict(facts(run))["optimizer"] == "Adam, learning rate 0.0004 to 0.01"


def test_a_sample_and_skipped_steps_are_told():
    run = make_run(np.ones((4, 2, 3)), layers={"trunk": 30}, coord_weight=[10, 10, 10], skipped=[0, 1, 0, 1])
    said = dict(facts(run))
    assert said["steps"] == "4 recorded, numbers 0 to 3; 2 skipped by the optimizer"
    assert said["parameters"].startswith("30, a sample of 3 kept")


def test_the_models_before_it_are_named():
    run = planted_run(steps=3, attrs={"model_number": 3, "model_of": ["fold", "fold-2", "fold-3"]})
    run.attrs["path"] = "runs/fold-3"
    assert dict(facts(run))["model"] == "number 3 of those that one process trained, after fold, fold-2"
