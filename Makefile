PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test lint bench clean

setup: $(STAMP)  ## build .venv with everything pinned

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## the main job on sample_data/
	mkdir -p demo
	$(BIN)/cloudfix run sample_data/landsat8_scene.tif -o demo/landsat8_clear.tif \
	  --quicklook demo/landsat8.png
	$(BIN)/cloudfix run sample_data/sentinel2_cloudy.tif --sar sample_data/sentinel2_sar.tif \
	  -o demo/sentinel2_clear.tif --mask-out demo/sentinel2_mask.tif --quicklook demo/sentinel2.png
	@echo
	@echo "Look at: demo/landsat8.png and demo/sentinel2.png (before | mask | after),"
	@echo "         demo/landsat8_clear.tif and demo/sentinel2_clear.tif in QGIS."

test: setup  ## everything but timings
	$(BIN)/python -m pytest --quiet --numprocesses 2 --dist worksteal

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict cloudfix

bench: setup  ## timings and memory, as ratios within one run
	$(BIN)/python -m benchmarks.attention --json benchmarks/results/attention.json
	$(BIN)/python -m benchmarks.networks --json benchmarks/results/networks.json
	$(BIN)/python -m benchmarks.scene --json benchmarks/results/scene.json
	$(BIN)/python -m benchmarks.pipeline --json benchmarks/results/pipeline.json
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.plot

clean:
	rm -rf $(VENV) demo build dist
