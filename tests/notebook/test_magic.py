"""``%%dominance`` in a kernel: what trains in a cell is recorded, and the cell does what it does without."""

from __future__ import annotations

from typing import Any

import pytest

from dominance import open_run

nbformat = pytest.importorskip("nbformat")
client = pytest.importorskip("nbclient")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the kernel's client, not ours

TRAIN = """import torch
torch.manual_seed(0)
trunk, price_head, stars_head = torch.nn.Linear(4, 16), torch.nn.Linear(16, 1), torch.nn.Linear(16, 1)
model = torch.nn.ModuleDict({"trunk": trunk, "price": price_head, "stars": stars_head})
optimizer = torch.optim.Adam(model.parameters())
for _ in range(30):
    x = torch.randn(32, 4)
    h = trunk(x).relu()
    price = (price_head(h) - x.sum(1, keepdim=True)).square().mean()
    stars = 10 * (stars_head(h) - x[:, :1]).square().mean()
    optimizer.zero_grad()
    (price + stars).backward()
    optimizer.step()
"""
WEIGHTS = "print([p.detach().double().sum().item() for p in model.parameters()])"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of a notebook by its cells, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("notebook")
    sources = {
        "load": "%load_ext dominance",
        "recorded": f"%%dominance --every 1 -o runs/first\n{TRAIN}",
        "weights": WEIGHTS,
        "alone": f"{TRAIN}{WEIGHTS}",
        "raises": f"%%dominance --every 1 -o runs/second --name other\n{TRAIN}raise ValueError('mine')",
        "report": "import dominance\ndominance.report(run, other)",
        "mistyped": "%%dominance --evry 1\npass",
        "there": "%%dominance -o runs/first\npass",
        "nothing": "%%dominance\nkept = 1",
        "kept": "print(kept, run.sizes['step'])",
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources.values()])
    made = client.NotebookClient(
        notebook, timeout=600, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(folder)}}
    )
    made.execute()
    return {"folder": folder, **{name: cell.outputs for name, cell in zip(sources, notebook.cells, strict=True)}}


def text(outputs: Any) -> str:
    parts = [str(each.get("text", "")) + str(each.get("data", {}).get("text/plain", "")) for each in outputs]
    return "\n".join(parts)


def html(outputs: Any) -> str:
    return "".join(str(each.get("data", {}).get("text/html", "")) for each in outputs)


def test_a_cell_is_recorded_and_says_what_was_found(cells: dict[str, Any]) -> None:
    assert cells["load"] == []
    assert "2 tasks: price, stars" in text(cells["recorded"])
    assert "30 steps recorded in" in text(cells["recorded"])
    assert "it is open as run" in html(cells["recorded"])
    assert "<ul><li>" in html(cells["recorded"])
    assert "dominance try" not in text(cells["recorded"])  # there is no script that it could be tried on
    with open_run(cells["folder"] / "runs/first") as run:
        assert run.attrs["status"] == "complete"
        assert run.attrs["recorded_by"] == "%%dominance"


def test_the_training_is_what_it_is_without(cells: dict[str, Any]) -> None:
    assert text(cells["weights"]) == text(cells["alone"])


def test_an_error_of_the_cell_is_the_cells(cells: dict[str, Any]) -> None:
    (error,) = (each for each in cells["raises"] if each.output_type == "error")
    assert (error.ename, error.evalue) == ("ValueError", "mine")
    assert "it is open as other" in text(cells["raises"])
    with open_run(cells["folder"] / "runs/second") as run:
        assert run.attrs["ended"] == "failed"


def test_a_report_is_shown_below_a_cell(cells: dict[str, Any]) -> None:
    assert "<iframe" in html(cells["report"])
    assert "2 runs, side by side" in html(cells["report"])


def test_mistakes_are_said_and_run_nothing(cells: dict[str, Any]) -> None:
    assert "unrecognized arguments: --evry 1" in text(cells["mistyped"])
    assert "exists; give --force" in text(cells["there"])


def test_a_cell_that_trains_nothing_runs_as_it_is(cells: dict[str, Any]) -> None:
    assert "nothing was recorded: no training step was seen" in text(cells["nothing"])
    assert text(cells["kept"]).strip() == "1 30"
