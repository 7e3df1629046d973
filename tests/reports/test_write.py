"""The report of a run: its files, its words, and what it does when there is nothing to draw."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.text import Text
from plots.overlap import problems
from runs import make_run, planted_run
from studies import scored

from dominance.analyse.verdict.verdict import verdict
from dominance.errors import BadOption, NothingRecorded, RunExists
from dominance.reports import write as module
from dominance.reports.figures import FIGURES, select
from dominance.reports.write import write_report


@pytest.fixture
def pages(monkeypatch):
    """The pages of the reports that a test writes."""
    made: list[module.Pages] = []
    keep_pages(monkeypatch, made)
    return made


def keep_pages(monkeypatch, made):
    class Kept(module.Pages):
        def __init__(self):
            super().__init__()
            made.append(self)

    monkeypatch.setattr(module, "Pages", Kept)


def words(pages):
    return " ".join(text.get_text() for page in pages[-1].pages for text in page.findobj(Text))


def run_of_adam():
    run = planted_run(steps=60)
    run.attrs["optimizers"] = [{"class": "Adam", "groups": [{"lr": 0.001}], "note": ""}]
    return run


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A run, what is written of it, and the pages."""
    made: list[module.Pages] = []
    with pytest.MonkeyPatch.context() as patch:
        keep_pages(patch, made)
        run = run_of_adam()
        written = write_report(run, tmp_path_factory.mktemp("reports") / "deep" / "report")
    return run, written, made


def test_one_file_a_figure_and_the_report_last(report):
    run, written, pages = report
    assert [path.name for path in written] == [*(f"{spec.name}.pdf" for spec in select("*", run)), "report.pdf"]
    assert all(path.read_bytes().startswith(b"%PDF") for path in written)
    assert written.missing == {}
    assert written.verdict is not None
    assert str(written.verdict.to_dict()) == str(verdict(run).to_dict())
    text = " ".join(words(pages).split())
    for finding in written.verdict:
        assert finding.text[:40] in text
        assert all(advice[:25] in text for advice in finding.advice)
    for spec in select("*", run):
        assert spec.alone or spec.name == "overview" or spec.title in text
    assert not any(title in text for title in ("The verdict", "Who owns which layer"))  # the first page says it


def test_the_same_run_gives_the_same_bytes(tmp_path, report):
    _, first, _ = report
    second = write_report(run_of_adam(), tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    content = first[-1].read_bytes()
    assert b"/FontFile2" in content
    assert b"CreationDate" not in content


def test_nothing_overlaps_on_any_page(tmp_path, pages):
    tasks = ["reconstruction_of_the_image", "left", "right"]
    layers = {f"encoder.layers.{i}.attention.output_projection": 4 for i in range(14)}
    write_report(planted_run(steps=30, tasks=tasks, layers=layers), tmp_path)
    for page in pages[-1].pages:
        assert problems(page) == []


def test_the_glob_chooses_figures_and_the_format_their_files(tmp_path):
    written = write_report(planted_run(steps=4), tmp_path, format="png", figures="gcd*")
    assert [path.name for path in written] == ["gcd_layers.png", "gcd.png", "report.pdf"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gcd.png", "gcd_layers.png", "report.pdf"]


def test_why_figures_are_missing_is_told_once_for_each_reason(tmp_path, pages):
    written = write_report(planted_run(steps=4, tasks=["only"]), tmp_path)
    assert [path.name for path in written] == ["losses.pdf", "alignment.pdf", "report.pdf"]
    assert set(written.missing) == set(FIGURES) - {"alignment", "losses", "noise_importance"}
    assert "no parameter is reached by two tasks" in written.missing["rau_buckets"]
    assert written.verdict is None
    text = " ".join(words(pages).split())
    assert text.count("no parameter is reached by two tasks") == 1
    assert all(text.count(reason) == 1 for reason in set(written.missing.values()))
    assert all(FIGURES[name].title in text for name in written.missing)
    assert "Nothing could be measured" in text
    assert "see the first page" in text


def test_single_task_runs_and_progress(tmp_path, pages):
    told = []
    run = scored({"a": {"auc": 0.6}, "b": {"auc": 0.9}}, directions={"auc": True}, gradients=np.ones((1, 2, 3)))
    single = {task: scored({task: {"auc": 0.8}}, directions={"auc": True}) for task in "ab"}
    written = write_report(
        run, tmp_path, figures="verdict", single=single, progress=lambda done, total: told.append((done, total))
    )
    assert [path.name for path in written] == ["verdict.pdf", "report.pdf"]
    assert [finding.kind for finding in written.verdict] == ["too short", "harm", "no harm"]
    assert "a is worse off than alone" in words(pages)
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_losses_without_values_are_missing_too(tmp_path):
    run = make_run(np.ones((4, 2, 3)), loss=np.full((4, 2), np.nan))
    written = write_report(run, tmp_path, figures="losses")
    assert [path.name for path in written] == ["report.pdf"]
    assert "no loss value" in written.missing["losses"]


def test_many_pages_of_one_figure(tmp_path):
    run = planted_run(steps=24, layers={f"layer{i}": 2 for i in range(60)})
    written = write_report(run, tmp_path, figures="verdict", format="svg")
    assert [path.name for path in written] == ["verdict.svg", "verdict-2.svg", "report.pdf"]
    assert float(re.search(r'width="([\d.]+)pt"', written[0].read_text())[1]) == pytest.approx(7.2 * 72)


def test_the_first_page_holds_the_verdict_and_the_picture(report):
    _, written, pages = report
    first = " ".join(text.get_text() for text in pages[-1].pages[0].findobj(Text))
    assert all(finding.text[:30] in first for finding in written.verdict)
    assert "most conflict (GCD)" in first
    assert "Does each of them learn?" in first
    assert "`" not in words(pages)


def test_a_large_model_takes_no_more_than_eight_pages(tmp_path, pages):
    tasks = [f"objective_{i}" for i in range(10)]
    parts = ("attention", "feed_forward")
    layers = {f"encoder.layers.{i}.{part}": 4 for i in range(20) for part in parts}
    attrs = {"optimizers": [{"class": "Adam", "groups": [{"lr": 0.001}], "note": ""}]}
    write_report(planted_run(steps=30, tasks=tasks, layers=layers, attrs=attrs), tmp_path)
    assert len(pages[-1].pages) <= 8
    for page in pages[-1].pages:
        assert problems(page) == []
    text = words(pages)
    assert "The 8 layers of 40 with the fewest effective tasks." in text
    assert "Names of layers are given from encoder.layers on." in text


def test_a_verdict_too_long_for_the_first_page_goes_on_behind_it(tmp_path, pages):
    residual = np.zeros((60, 740))
    residual[:, :700] = 5.0
    remarks = [f"Something to know, number {i}, about this recording." for i in range(24)]
    written = write_report(planted_run(residual_gradient=residual, attrs={"remarks": remarks}), tmp_path)
    first, *rest = (" ".join(t.get_text() for t in page.findobj(Text)) for page in pages[-1].pages)
    assert "behind the picture" in first
    assert written.verdict.findings[-1].text[:30] in " ".join(rest)


def test_files_that_are_there_are_kept_unless_told_otherwise(tmp_path):
    run = planted_run(steps=3)
    (tmp_path / "gcd.pdf").write_text("mine")
    with pytest.raises(RunExists, match=r"gcd\.pdf: is already there"):
        write_report(run, tmp_path, figures="gcd")
    assert [path.name for path in tmp_path.iterdir()] == ["gcd.pdf"]
    assert (tmp_path / "gcd.pdf").read_text() == "mine"
    write_report(run, tmp_path, figures="gcd", overwrite=True)
    assert (tmp_path / "gcd.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(RunExists, match=r"report\.pdf"):
        write_report(run, tmp_path, figures="losses")


@pytest.mark.parametrize("kind", ["htm", "PDF", "docx"])
def test_an_unknown_format_is_answered_with_the_known_ones(tmp_path, kind):
    with pytest.raises(BadOption, match="choose from pdf, png, svg"):
        write_report(planted_run(steps=2), tmp_path / "new", format=kind)
    assert not (tmp_path / "new").exists()


def test_folders_that_cannot_be(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BadOption, match="is a file"):
        write_report(planted_run(steps=2), file)
    with pytest.raises(BadOption, match="cannot be made"):
        write_report(planted_run(steps=2), file / "below", figures="losses")


def test_a_run_without_a_step(tmp_path):
    with pytest.raises(NothingRecorded, match="no step"):
        write_report(make_run(np.zeros((0, 2, 3))), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_first_page_says_what_does_not_add_up(tmp_path, pages):
    attrs = {"failure": "ValueError: a head was added", "remarks": ["observe() was given a sum beside its parts."]}
    write_report(planted_run(steps=24, attrs=attrs, closure=np.full(24, 0.3)), tmp_path, figures="gcd")
    first = " ".join(text.get_text() for text in pages[-1].pages[0].findobj(Text))
    for said in (*attrs["remarks"], "At each of 24 steps the parts of the updates do not add up"):
        assert first.count(said) == 1
    assert first.count("a head was added") == 1


def test_a_run_with_nothing_to_measure_says_what_became_of_it(tmp_path, pages):
    attrs = {"unrecorded": [{"reason": "no loss was found", "steps": 40, "first": 0}]}
    write_report(make_run(np.full((4, 2, 3), np.nan), np.ones((4, 2, 3)), attrs=attrs), tmp_path)
    assert "40 since step 0: no loss was found" in words(pages)
