# make demo   a simulated console scans a specimen; the address of the OR display is printed
# make test   the whole test suite
# Both set up everything they need in .venv on their first run.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: model demo test lint types imports wheel check lock clean

demo: $(VENV)/ready
	$(BIN)/octmargin demo $(ARGS)

test: $(VENV)/trains
	sh scripts/install-system-packages.sh
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/trains
	$(BIN)/mypy

imports: $(VENV)/ready
	$(BIN)/lint-imports

wheel: $(VENV)/ready
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

check: lint types imports test wheel

$(VENV)/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "octmargin needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "setting up $(VENV) (once, a minute or two) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# PyTorch is large, and only training and its tests need it.
$(VENV)/trains: requirements/training.txt $(VENV)/ready
	@echo "adding PyTorch (once; some gigabytes where only its build with CUDA is offered) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements/training.txt
	@touch $@

# Trains a model as margin-1 was; the same bits each time on the same kind of machine. About seven hours on two cores.
model: $(VENV)/trains
	$(BIN)/python -m training.train
	$(BIN)/python -m training.gather
	$(BIN)/python -m training.together
	$(BIN)/python -m training.together --specimens 4340 --epochs 3 --sure-share 0.25 --mean
	$(BIN)/python -m training.grow
	$(BIN)/python -m training.together --specimens 4640 --epochs 3 --rate 0.0004 --sure-share 0.5 --mean
	$(BIN)/python -m training.together --specimens 4640 --epochs 1 --rate 0.0003 --mean
	$(BIN)/python -m training.calibrate

lock:
	bash scripts/lock.sh

clean:
	find src drivers simulator -name __pycache__ -prune -exec rm -rf {} +
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
