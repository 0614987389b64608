# Everything runs in .venv, which `make setup` makes from nothing.
SHELL := /bin/bash
PYTHON ?= python3
TORCH ?= torch==2.13.0
READY := .venv/.ready
SECONDS ?= 30

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything that demo and test need

$(READY): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	  || { echo 'error: Python 3.10 or newer is needed (set PYTHON=...)' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'error: the venv module is missing: apt install python3-venv' >&2; exit 1; }
	@echo 'setting up .venv (some minutes the first time) ...'
	@test -x .venv/bin/pip || $(PYTHON) -m venv --clear .venv
	@.venv/bin/pip install --disable-pip-version-check '$(TORCH)' -e '.[ros,bags,openvino,onnx,ray,test]' > .venv/pip.log 2>&1 \
	  || { grep -i '^ *error' .venv/pip.log; echo 'error: pip failed, see .venv/pip.log'; exit 1; } >&2
	@.venv/bin/python -c 'import act_ros.policy, act_ros.nodes.act_node'
	@touch $@

demo: $(READY) ## the simulated robot does its task: live table, summary, picture
	@exec .venv/bin/python -m act_ros.child $$PPID .venv/bin/python -m act_ros.demo --seconds $(SECONDS)

test: $(READY) ## lint and run the tests
	@$(MAKE) --no-print-directory lint
	@.venv/bin/python -m pytest

lint: $(READY) ## check style and static types
	@.venv/bin/ruff check .
	@.venv/bin/mypy

clean: ## remove what was made here
	rm -rf .venv out/demo build install log *.egg-info
