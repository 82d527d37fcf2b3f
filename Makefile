# minicredit: `make compare` and `make test` need Python >= 3.10 with venv, and nothing else.
# Each target makes .venv with what it needs, once.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help compare test bench bench-gpu lessons site clean

help:                   ## what there is to make
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

compare: .venv/core     ## every rule side by side on handwritten digits, two minutes; see runs/
	$(BIN)/minicredit compare

test: .venv/test        ## the whole test suite
	$(BIN)/python -m pytest

bench: .venv/bench      ## against PyTorch, JAX and the machine's own ceiling, fourteen minutes
	$(BIN)/python -m benchmarks

bench-gpu: .venv/bench-gpu  ## on a GPU, against PyTorch, JAX and cuBLAS, four minutes
	$(BIN)/python -m benchmarks.gpu

lessons: .venv/core     ## run every lesson; figures go to figures/
	@for lesson in lessons/l*.py; do echo $$lesson; $(BIN)/python $$lesson || exit 1; done

site: .venv/site        ## lessons, rules, results and every module as web pages, in site/
	rm -rf build/site site && mkdir -p build && cp -r docs build/site
	OPENBLAS_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q -d build/pages build/site site
	$(BIN)/python docs/check.py site

clean:                  ## remove what make made
	rm -rf .venv build site *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "minicredit needs Python 3.10 or newer; $(PYTHON) is `$(PYTHON) -V`." \
	           "Try: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/core: setup.cfg | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/%: setup.cfg | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@ .venv/core
