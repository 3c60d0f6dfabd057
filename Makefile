# The main commands are `make demo` and `make test`. Each installs its requirements into .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test chaos lint confirm docs clean

demo: .venv/.installed
	$(BIN)/unlearnbench run --all

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

chaos: .venv/.installed-dev
	CHAOS_KILLS=20 $(BIN)/python -m pytest tests/operations/test_chaos.py tests/operations/test_distributed.py tests/engines

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# After an edit: `make confirm`. If numbers change intentionally: `make confirm BUMP="methods.laf" BECAUSE="..."`.
confirm: .venv/.installed
	$(BIN)/unlearnbench confirm $(foreach name,$(BUMP),--bump $(name)) $(if $(BECAUSE),--because "$(BECAUSE)")

docs: .venv/.installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo "The documentation is in build/docs/index.html"

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: setup.cfg pyproject.toml constraints.txt
	@echo "Installing into .venv; this takes a minute or two."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/.installed-docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@
