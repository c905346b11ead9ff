# make run      the quickstart, in an environment made for it
# make test     what tests need, then the tests
# make docs     the documentation as a site, in build/docs
# make screenshots  the pictures of report and playground in docs/images, from a run of the quickstart
# make bench    every benchmark, in an environment of its own
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

INSTALL = -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PIP = $(VENV)/bin/python $(INSTALL)
# Two processes, each with whole files of tests: more would take more memory than a laptop has. The files' order is that
# of tests/conftest.py, not by their number of tests.
PYTEST = $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
# PyTorch, KerasHub and JAX, which the benchmarks compare with, stay out of the environment that runs the pipeline.
BENCH_VENV = $(VENV)-bench

.PHONY: run test test-slow test-long lint docs screenshots bench clean

run: $(VENV)/run.stamp
	$(VENV)/bin/python pipeline.py --runner local $(ARGS)

test: $(VENV)/test.stamp
	$(PYTEST) $(ARGS)

test-slow: $(VENV)/test.stamp
	$(PYTEST) -m 'slow and not long' --timeout 1200 $(ARGS)

# Before a release: what takes too long for every change, and every architecture in each test of all of them.
test-long: $(VENV)/test.stamp
	EVERY_MODEL=1 $(PYTEST) -m 'slow' --timeout 3600 $(ARGS)

lint: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy pipeline.py masked_lm_pipeline foundation components runners serving
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell pipeline.py foundation components runners serving configs benchmarks

# -W: a broken link or anchor is an error; -n: so is a reference to nothing.
docs: $(VENV)/docs.stamp
	$(VENV)/bin/python docs/pipeline_picture.py
	$(VENV)/bin/python -m sphinx -W -n --keep-going -q -b html docs build/docs

screenshots: run
	$(VENV)/bin/python docs/screenshots.py

bench: $(BENCH_VENV)/bench.stamp
	for script in ingest preprocess input text_tokenizers evaluation upload serve train quality; do \
		$(BENCH_VENV)/bin/python benchmarks/$$script.py || exit; done

clean:
	rm -rf $(VENV) $(BENCH_VENV) build *.egg-info

$(VENV)/run.stamp: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/docs.stamp: $(VENV)/run.stamp
	$(PIP) --editable '.[docs]'
	touch $@

$(BENCH_VENV)/bench.stamp: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python $(INSTALL) --editable '.[bench]'
	touch $@
