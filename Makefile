# Two commands are all that a fresh machine needs: `make demo` and `make test`. Both set up .venv first; a second run finds it ready.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin

# Two workers on two cores: torch and numpy must not start threads of their own on top.
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test docs lowest data sinks sweeps wheel-tests lint ruff types types-of-tests speed trainers programs faults mutation setup clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    record a training script on real data, summarise it, draw its report"
	@echo "make test    the tests, ruff and mypy"
	@echo "make docs    the pages of docs as a site, in an environment of its own beside $(VENV)"
	@echo "make lowest  the tests on the lowest versions that pyproject.toml declares, in an environment of their own"
	@echo "make data    the tests that read data which other packages bring, with these packages beside $(VENV)"
	@echo "make sinks   the tests of --to with TensorBoard, W&B and MLflow, in an environment of their own"
	@echo "make sweeps  the tests of sweeps with Optuna and Hydra, in an environment of their own"
	@echo "make wheel-tests  the tests, outside of the checkout, of the wheel that is built of it, in a fresh environment"
	@echo "make lint    ruff and mypy alone"
	@echo "make speed   the speed measurements; docs/cost.md gets its table, tests/speed/history.jsonl a line"
	@echo "make trainers  real trainers under record, in an environment of their own"
	@echo "make programs  2,000 generated training programs, recorded and judged by gradients taken by hand"
	@echo "make faults    what befalls trainings, disks and runs, tried; docs/reliability.md gets its table"
	@echo "make mutation  small changes to the code, of which tests should see each; what they do not is listed"
	@echo "make setup   the environment in $(VENV), which the others make when it is missing"
	@echo "make clean   remove $(VENV) and what the tools left behind; runs/ stays"

demo: setup
	$(BIN)/dominance record --every 1 -m dominance.examples.digits
	$(BIN)/dominance report runs/latest
	$(BIN)/dominance summary runs/latest
	@echo
	@echo "The report: $$(cd runs/latest && pwd -P)/report/report.pdf"

# Compiled once, for a hundred interpreters that tests start: where PYTHONDONTWRITEBYTECODE is set each would do it again.
test: lint
	@$(BIN)/python -m compileall -q dominance cli
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Without notebooks, which need more, and without doctests: numpy 1 shows numbers otherwise.
lowest: .venv-lowest/.installed
	nice .venv-lowest/bin/python -m pytest -n $(WORKERS) --dist worksteal -p no:cacheprovider tests \
		--ignore tests/test_notebooks.py

.venv-lowest/.installed: tests/lowest.txt pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet -c tests/lowest.txt -e ".[examples,dask,remote]" \
		pytest pytest-xdist hypothesis obstore "torchjd[full]==0.18.0"
	@touch $@

# An environment that sees the packages of $(VENV), torch among them, and adds those of its requirements.
define beside
$(PYTHON) -m venv $(@D)
@site='import site; print(site.getsitepackages()[0])'; echo "import site; site.addsitedir('$$($(BIN)/python -c "$$site")')" \
	> "$$($(@D)/bin/python -c "$$site")/beside.pth"
$(@D)/bin/python -m pip install --quiet --no-deps -r $<
@touch $@
endef

docs: .venv-docs/.installed
	nice .venv-docs/bin/python -m sphinx -W --keep-going -q -b html docs build/site
	@echo "The site: $(CURDIR)/build/site/index.html"

.venv-docs/.installed: docs/requirements.txt $(VENV)/.installed
	$(beside)

data: .venv-data/.installed
	nice .venv-data/bin/python -m pytest -p no:cacheprovider tests/benchmarks

.venv-data/.installed: tests/benchmarks/data_requirements.txt $(VENV)/.installed
	$(beside)

sweeps: .venv-sweeps/.installed
	nice .venv-sweeps/bin/python -m pytest -p no:cacheprovider tests/sweeps

.venv-sweeps/.installed: tests/sweeps/requirements.txt $(VENV)/.installed
	$(beside)

sinks: .venv-sinks/.installed
	nice .venv-sinks/bin/python -m pytest -p no:cacheprovider tests/sinks

.venv-sinks/.installed: tests/sinks/requirements.txt .ci/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv-sinks
	.venv-sinks/bin/python -m pip install --quiet -c .ci/requirements.txt -r tests/sinks/requirements.txt -e ".[test]"
	@touch $@

# A part by `make wheel-tests WHAT=tests/analyse`. What reads the checkout itself (its docs, its layout) is left out.
wheel-tests: .venv-wheel/.installed
	@outside=$$(mktemp -d) && cp -r tests docs conftest.py pyproject.toml "$$outside" && cd "$$outside" \
		&& $(CURDIR)/.venv-wheel/bin/python -c "import dominance; assert 'site-packages' in dominance.__file__" \
		&& nice $(CURDIR)/.venv-wheel/bin/python -m pytest -n $(WORKERS) --dist worksteal -p no:cacheprovider \
			$(or $(WHAT),tests) $(addprefix --ignore=tests/,$(OF_THE_CHECKOUT)); \
		status=$$?; rm -rf "$$outside"; exit $$status

OF_THE_CHECKOUT := test_docs.py test_house.py test_public.py test_contributing.py test_notebooks.py test_versions.py \
	programs faults trainers integrations

.venv-wheel/.installed: pyproject.toml .ci/requirements.txt $(shell find dominance cli -name '*.py*' -not -path '*/__pycache__/*')
	$(PYTHON) -m venv --clear .venv-wheel
	rm -rf build dist
	.venv-wheel/bin/python -m pip wheel --quiet --no-deps -w dist .
	.venv-wheel/bin/python -m pip install --quiet -c .ci/requirements.txt "$$(ls dist/dominance-*.whl)[test,examples]"
	@touch $@

# Side by side: each works on one core.
lint: setup
	@$(MAKE) --no-print-directory --output-sync=target --jobs=$(WORKERS) ruff types types-of-tests

ruff:
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types:
	$(BIN)/mypy

types-of-tests:
	$(BIN)/mypy --config-file tests/mypy.toml

speed: setup
	@for file in $(filter-out %/record_cost.py %/history.py,$(wildcard tests/speed/*.py)); do \
		echo "== $$file"; $(BIN)/python "$$file" || exit 1; done
	$(BIN)/python tests/speed/record_cost.py --table docs/cost.md --history tests/speed/history.jsonl

trainers: .venv-trainers/.installed
	nice .venv-trainers/bin/python -m pytest tests/integrations tests/tried
	nice .venv-trainers/bin/python tests/trainers/run.py

.venv-trainers/.installed: tests/trainers/requirements.txt $(VENV)/.installed
	$(beside)

# Others by `make programs NUMBERS="17 300:400 --shrink"`; what there is: `make programs NUMBERS=--help`.
programs: setup
	PYTHONPATH=tests $(BIN)/python -m programs -j $(WORKERS) $(NUMBERS)

# One kind by `make faults WHAT="kills 20"`; what there is: `make faults WHAT=--help`.
faults: setup
	PYTHONPATH=tests $(BIN)/python -m faults $(or $(WHAT),--table docs/reliability.md)

# Others by `make mutation WHAT="dominance/analyse/kernels/gcd.py --most 50"`; what there is: `make mutation WHAT=--help`.
mutation: .venv-mutation/.installed
	PYTHONPATH=tests nice .venv-mutation/bin/python -m mutation $(WHAT)

.venv-mutation/.installed: tests/mutation/requirements.txt $(VENV)/.installed
	$(beside)

setup: $(VENV)/.installed

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "dominance needs Python 3.11 or later; try: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.dependencies: .ci/requirements.txt $(VENV)/.made
	$(BIN)/python -m pip install --quiet -r .ci/requirements.txt
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.dependencies
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) .venv-trainers .venv-lowest .venv-data .venv-docs .venv-sinks .venv-sweeps .venv-wheel .venv-mutation .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
