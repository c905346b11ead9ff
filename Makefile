# make run      the quickstart, in an environment made for it
# make test     what tests need, then the tests
# make bench    every benchmark, in an environment of its own
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

INSTALL = -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PIP = $(VENV)/bin/python $(INSTALL)
# Two processes, each with whole files of tests: more would take more memory than a laptop has.
PYTEST = $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile
# PyTorch, KerasHub and JAX, which the benchmarks compare with, stay out of the environment that runs the pipeline.
BENCH_VENV = $(VENV)-bench

.PHONY: run test test-slow lint bench clean

run: $(VENV)/run.stamp
	$(VENV)/bin/python pipeline.py --runner local $(ARGS)

test: $(VENV)/test.stamp
	$(PYTEST) $(ARGS)

test-slow: $(VENV)/test.stamp
	$(PYTEST) -m slow --timeout 1200 $(ARGS)

lint: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy pipeline.py foundation components runners serving
	$(VENV)/bin/lint-imports

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

$(BENCH_VENV)/bench.stamp: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python $(INSTALL) --editable '.[bench]'
	touch $@
