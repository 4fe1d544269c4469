# prosect: `make demo` runs the whole loop on sample_data/, `make test` runs the tests.
# Both set up .venv first; nothing but Python >= 3.11, make and the package index is assumed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup demo test check slow bench fmt clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "prosect needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

setup: $(READY)

demo: $(READY)
	$(BIN)/prosect demo

# Half of the time is starts of processes and single threads: several workers share it.
test: $(READY)
	$(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist worksteal

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

slow: $(READY)
	$(BIN)/python -m pytest -q -m slow

bench: $(READY)
	$(BIN)/python -m pytest -q -s -m benchmark tests/benchmarks

fmt: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache prosect-demo
