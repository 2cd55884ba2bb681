# make env    makes the environment in .venv
# make train  trains on faces that this project draws, to an image one can look at
# make photo  restores the faces in two example photos, to a picture before | after
# make page   opens the page that restores photos in the browser, and serves it until Ctrl-C
# make test   lints and runs every test
PYTHON ?= python3
# A further package index to find torch in: https://download.pytorch.org/whl/cpu avoids downloading CUDA.
TORCH_INDEX ?=
# Processes that run the tests; one core each.
TEST_WORKERS ?= 2
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: env train photo page test lint
env: .venv/.ready

.venv/.ready: requirements.txt requirements-deploy.txt requirements-page.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; try make PYTHON=python3.12")'
	@echo "== Installing the environment into .venv (PyTorch is most of it; TORCH_INDEX= chooses its build)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements-dev.txt
	@touch $@

train: env
	@echo "== Training a compact SPARNet on faces that this project draws (test/train_full_1p.sh)"
	@bash test/train_full_1p.sh

photo: env
	@echo "== Restoring two example photos (newphoto.py)"
	@python -m tools.photo_example photos results/photo_example/in
	@python newphoto.py results/photo_example/in --output_path results/photo_example/out --upscale 2
	@python -m tools.photo_example picture results/photo_example/in results/photo_example/out results/photo_example/before_after.png

page: env
	@echo "== Serving the page (python -m restore.page)"
	@python -m restore.page --open

lint: env
	@echo "== Linting"
	@ruff check .

test: lint
	@echo "== Running every test"
	@python -m pytest -n $(TEST_WORKERS) --dist worksteal
