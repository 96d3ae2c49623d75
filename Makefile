# Every target sets itself up: the first one creates .venv and installs the package into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
QUICKSTART_DIR ?= quickstart

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-slow test-transformers bench bench-embed bench-train few-labels robustness open-mocap captions bench-read bench-index localisation answers skeletons docs docs-serve smoke lint format types wheel clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

$(INSTALLED): setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

install: $(INSTALLED)  ## Create .venv and install the package with its development tools

quickstart: $(INSTALLED)  ## Make motions, train a small model, evaluate, classify and retrieve with it (minutes, CPU)
	$(BIN)/motionpatches quickstart --output $(QUICKSTART_DIR)

test: $(INSTALLED)  ## Run the tests (MOTIONPATCHES_DATA names a folder of real motion, if you have one)
	$(BIN)/python -m pytest

test-slow: $(INSTALLED)  ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow

# transformers keeps these tests in its sdist alone, which is downloaded into build/. CLIP runs them too, for comparison.
test-transformers: $(INSTALLED)  ## Run transformers' own common tests on every class here (minutes; COUNTS=file.json)
	$(BIN)/python -m pytest -c tests/hf_common/pytest.ini tests/hf_common $(if $(COUNTS),--output $(COUNTS))

bench: $(INSTALLED)  ## Measure the speed of the motion patches against cv2.resize and a plain copy
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	$(BIN)/python benchmarks/speed.py --output docs/results/speed.json

# Minutes, on a quiet machine; recall is of the model that `make quickstart` leaves.
bench-embed: $(INSTALLED)  ## Measure how fast the towers embed, and what less precision costs (after make quickstart)
	$(BIN)/python -m pip install --quiet --editable ".[onnx]"
	$(BIN)/python benchmarks/embedding_speed.py --output docs/results/embedding_speed.json \
		--checkpoint $(QUICKSTART_DIR)/run/best --data $(QUICKSTART_DIR)/data

# A quarter of an hour on a quiet machine. On a GPU also: `training_speed.py --precision bf16 --compile`.
bench-train: $(INSTALLED)  ## Measure how fast training is, and its recall, against padding all motions to one length
	$(BIN)/python benchmarks/training_speed.py --batch-size 64 --batches 2 --output docs/results/training_speed.json
	$(BIN)/python benchmarks/training_recall.py --output docs/results/training_speed_recall.json

few-labels: $(INSTALLED)  ## Measure fine-tuning with few labels against training from scratch (after make quickstart)
	$(BIN)/python benchmarks/few_labels.py --checkpoint $(QUICKSTART_DIR)/run/best --output docs/results/few_labels.json

# MOTIONPATCHES_DATA names the folder of real motion. An hour or two on a laptop; goes on where it stopped.
robustness: $(INSTALLED)  ## Measure the robustness to the skeleton and write docs/robustness.md
	$(BIN)/python benchmarks/robustness.py --data "$(MOTIONPATCHES_DATA)" --output docs/results/robustness.json
	$(BIN)/python benchmarks/report_robustness.py docs/results/robustness.json docs/robustness.md

# MOTIONPATCHES_DATA names the folder of real motion, TEXT_MODEL a folder or Hub id of all-MiniLM-L6-v2. Hours on a laptop; goes on
# where it stopped.
TEXT_MODEL ?= sentence-transformers/all-MiniLM-L6-v2
open-mocap: $(INSTALLED)  ## Compare the recipes open_mocap_best and open_mocap_published and write docs/open_mocap.md
	$(BIN)/python benchmarks/open_mocap.py --data "$(MOTIONPATCHES_DATA)" --text-model $(TEXT_MODEL) \
		--runs runs/open_mocap --output docs/results/open_mocap
	$(BIN)/python benchmarks/report_open_mocap.py docs/results/open_mocap docs/open_mocap.md \
		docs/results/open_mocap_summary.json

bench-read: $(INSTALLED)  ## Measure how fast prepared motions are read, at random and as a stream
	$(BIN)/python benchmarks/reading_speed.py --output docs/results/reading_speed.json

captions: $(INSTALLED)  ## Measure how captions repeat (MOTIONPATCHES_DATA and TEXT_MODEL as above)
	$(BIN)/python benchmarks/captions.py --sentence-encoder all-MiniLM-L6-v2=$(TEXT_MODEL) --output docs/results/captions.json

# Ten minutes on a quiet machine. `index_speed.py --kind hnsw` measures graphs too, which take much longer to build.
bench-index: $(INSTALLED)  ## Measure how fast an index of a million vectors is searched
	$(BIN)/python -m pip install --quiet --editable ".[search]"
	$(BIN)/python benchmarks/index_speed.py --kind ivf --output docs/results/index_speed.json

# DATA_CHECKPOINT, a model trained on the training splits of MOTIONPATCHES_DATA, adds real motion.
localisation: $(INSTALLED)  ## Measure how well moments of long recordings are found (after make quickstart)
	$(BIN)/python benchmarks/localisation.py --checkpoint $(QUICKSTART_DIR)/run/best --output docs/results/localisation.json \
		$(if $(DATA_CHECKPOINT),--data "$(MOTIONPATCHES_DATA)" --data-checkpoint $(DATA_CHECKPOINT))

# An hour or two on a laptop; goes on where it stopped.
answers: $(INSTALLED)  ## Train MotionLlamo on real motion (MOTIONPATCHES_DATA) and on videos, and judge its answers
	$(BIN)/python -m pip install --quiet --editable ".[captioning,video]"
	$(BIN)/python benchmarks/instructions.py --data "$(MOTIONPATCHES_DATA)" --runs runs/instructions \
		--output docs/results/instructions.json
	$(BIN)/python benchmarks/video_instructions.py --checkpoint runs/instructions/tower/best --runs runs/video \
		--output docs/results/video_instructions.json

skeletons: $(INSTALLED)  ## Draw docs/skeletons.md and its figures
	$(BIN)/python docs/draw_skeletons.py

docs: $(INSTALLED)  ## Build the documentation site into build/site
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(INSTALLED)  ## Show the documentation site while you write it
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

lint: $(INSTALLED)  ## Check style with ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(INSTALLED)  ## Rewrite to style with ruff
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

# Type checkers follow the folder mapping of setup.py only in a strict editable install.
types: $(INSTALLED)  ## Check types with mypy
	$(BIN)/python -m pip install --quiet --no-deps --editable . --config-settings editable_mode=strict
	$(BIN)/mypy; status=$$?; $(BIN)/python -m pip install --quiet --no-deps --editable .; exit $$status

wheel: $(INSTALLED)  ## Build wheel and sdist into dist/
	rm -rf dist && $(BIN)/python -m build

smoke: wheel  ## Install the wheel, then the sdist, into a clean environment and run the smoke tests there
	rm -rf build/smoke && mkdir -p build/smoke/tests && cp tests/conftest.py tests/test_smoke.py build/smoke/tests/
	$(PYTHON) -m venv build/smoke/venv
	build/smoke/venv/bin/python -m pip install --quiet "$$(echo dist/*.whl)[test]"
	cd build/smoke && venv/bin/python -m pytest -c ../../pyproject.toml --rootdir . -m smoke tests
	build/smoke/venv/bin/python -m pip install --quiet --force-reinstall --no-deps dist/*.tar.gz
	cd build/smoke && venv/bin/python -m pytest -c ../../pyproject.toml --rootdir . -m smoke tests

clean:  ## Remove what the targets above made (.venv stays)
	rm -rf build dist *.egg-info $(QUICKSTART_DIR)
