# make train   set up, train the default model on the built-in corpus, print a sample
# make test    set up, run every test, as many at once as there are cores, up to eight
# make faults  the tests of kills and damage at every place instead of some; takes an hour
PYTHON ?= python3
CONFIG ?= configs/stories.yaml
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: install train test faults lint format clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml .ci/constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv (a minute or two, once)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[dev]'
	@touch $@

train: install
	$(BIN)/minigpt train $(CONFIG)

test: install
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

faults: install
	MINIGPT_FAULTS=all $(BIN)/python -m pytest -s tests/faults

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find minigpt scripts tests -name __pycache__ -prune -exec rm -rf {} +
