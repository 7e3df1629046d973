"""``dominance figures`` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from papers.made import trained

from dominance.papers import catalogue
from dominance.papers.item import Claim, Item, Judgement
from dominance.papers.table import Table
from dominance_cli.main import main


def leave(*arguments: str) -> object:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def methods(material, backend) -> Table:
    return Table(["method"], [[run.attrs["method"]] for run in material.select(benchmark="small")], backend=backend)


@pytest.fixture
def two_items(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim("c", "it is so", "a < b", lambda material: Judgement("partly", "half of it"))
    known = [
        Item("pub-fig9", "PUB", "Fig. 9", "small", lambda wish: [], methods, claims=(claim,)),
        Item("pub-table9", "PUB", "Table 9", "other", lambda wish: [], methods, stands_for="Something else."),
    ]
    monkeypatch.setattr(catalogue, "items", lambda: {item.name: item for item in known})


def test_the_list_names_every_figure(capfd):
    assert leave("figures", "list") == 0
    out, err = capfd.readouterr()
    names = [line.split()[0] for line in out.splitlines() if line and not line.startswith("*")]
    assert names == list(catalogue.items())
    assert {"adatask-fig2", "adatask-table2", "pub-fig2"} <= set(names)
    assert err.startswith("dominance reproduce ")


def test_the_catalogue_is_in_the_order_of_the_papers_and_every_claim_has_a_name_of_its_own():
    known = list(catalogue.items().values())
    places = [(catalogue.PAPERS.index(item.paper), item.name.split("-")[1].rstrip("0123456789")) for item in known]
    assert places == sorted(places)
    claims = [claim.name for item in known for claim in item.claims]
    assert len(set(claims)) == len(claims)
    assert all(item.name.split("-")[0] == item.paper.lower() for item in known)
    assert all(item.make is not None or item.stands_for for item in known)


def test_the_list_as_json(two_items, capfd):
    assert leave("figures", "list", "--json") == 0
    first, second = json.loads(capfd.readouterr().out)["figures"]
    assert (first["name"], first["place"]) == ("pub-fig9", "Fig. 9")
    assert first["claims"] == [{"name": "c", "says": "it is so", "criterion": "a < b"}]
    assert second["stands_for"] == "Something else."
    assert second["trainings"] == {"quick": 0, "long": 0, "full": 0}


def test_a_figure_is_made_from_runs(two_items, tmp_path: Path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run = str(trained(tmp_path / "run", method="uw"))
    assert leave("figures", "make", "pub-fig9", run, "--format", "svg") == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "figures/pub-fig9.svg", "figures/pub-fig9.csv", "figures/pub-fig9.md", "figures/pub-fig9.json",
        "partly: it is so (half of it)",
    ]  # fmt: skip
    assert err == "dominance reproduce pub-fig9\n"
    assert "uw" in (tmp_path / "figures/pub-fig9.csv").read_text()
    assert leave("figures", "make", "pub-fig9", run) == 2
    assert "is already there" in capfd.readouterr().err
    assert leave("figures", "make", "pub-fig9", run, "--force") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pub-fig8"], "no figure or table is called 'pub-fig8'; did you mean pub-fig9?"),
        (["pub-*"], "pub-* are 2 figures; name one, such as pub-fig9"),
        (["pub-fig9", "--format", "docx"], "format 'docx' is unknown; choose from pdf, png, svg"),
    ],
)
def test_mistakes_are_said_in_one_line(two_items, words, said, tmp_path, capfd):
    assert leave("figures", "make", words[0], str(tmp_path), *words[1:]) == 2
    assert capfd.readouterr().err == f"dominance: error: {said}\n"


def test_a_run_that_is_missing_is_named_with_the_command_that_makes_it(two_items, tmp_path, capfd):
    run = str(trained(tmp_path / "run", "other"))
    assert leave("figures", "make", "pub-fig9", run, "-o", str(tmp_path / "f")) == 2
    assert "no run with benchmark small" in capfd.readouterr().err
