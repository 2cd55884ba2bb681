# make env    the environment, in .venv        make train  train on built-in faces, to a picture one can look at
# make test   lint and every test
PYTHON ?= python3
# A package index to look for torch in first: https://download.pytorch.org/whl/cpu keeps CUDA's gigabytes away.
TORCH_INDEX ?=
# Processes that run the tests; one core each.
TEST_WORKERS ?= 2
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: env train test lint
env: .venv/.ready

.venv/.ready: requirements.txt requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements-dev.txt
	touch $@

train: env
	bash test/train_full_1p.sh

lint: env
	ruff check .

test: lint
	python -m pytest -n $(TEST_WORKERS) --dist worksteal
