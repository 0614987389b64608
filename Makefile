# Everything runs in .venv, which `make setup` makes from nothing.
SHELL := /bin/bash
PYTHON ?= python3
TORCH ?= torch==2.13.0
READY := .venv/.ready
JAZZY := .venv-jazzy/.ready
# What differs from one distribution to the next: rclpy's life cycle, its signals and threads, Fast
# DDS's shared memory, profiles and QoS events, the classes of the messages.
JAZZY_TESTS := test/distributions test/nodes/test_exit.py test/nodes/test_isolation.py \
  test/nodes/test_inputs.py test/nodes/test_outputs.py test/nodes/test_two_machines.py
# Of each floor what tells most in little time: the network's numbers, the loop and its limits, the
# messages, the files, and a node over DDS.
QUICK_TESTS := $(filter-out test/test_wheel.py test/test_launch.py,$(wildcard test/test_*.py)) \
  test/commands test/control test/safety test/observation test/web test/policy/test_aggregation.py \
  'test/policy/test_reference.py::test_chunks_and_actions_equal_the_public_implementation[full-torch]' \
  test/commissioning/test_check_config.py test/readme/test_tables.py test/nodes/test_operator.py
SECONDS ?= 30

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick test-jazzy coverage docs lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything that demo and test need

$(READY): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	  || { echo 'error: Python 3.10 or newer is needed (set PYTHON=...)' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo 'error: the venv module is missing: apt install python3-venv' >&2; exit 1; }
	@echo 'setting up .venv (some minutes the first time) ...'
	@test -x .venv/bin/pip || $(PYTHON) -m venv --clear .venv
	@.venv/bin/pip install --disable-pip-version-check '$(TORCH)' -e '.[ros,bags,openvino,onnx,ray,docs,test]' > .venv/pip.log 2>&1 \
	  || { grep -i '^ *error' .venv/pip.log; echo 'error: pip failed, see .venv/pip.log'; exit 1; } >&2
	@.venv/bin/python -c 'import act_ros.policy, act_ros.nodes.act_node'
	@touch $@

demo: $(READY) ## the simulated robot does its task: live table, summary, picture
	@exec .venv/bin/python -m act_ros.child $$PPID .venv/bin/python -m act_ros.demo --seconds $(SECONDS)

test: $(READY) ## lint and run the tests
	@$(MAKE) --no-print-directory lint
	@.venv/bin/python -m pytest

quick: $(READY) ## a first answer of the tests, in under two minutes
	@$(MAKE) --no-print-directory lint
	@.venv/bin/python -m pytest -q -x $(QUICK_TESTS)

test-jazzy: $(JAZZY) ## run the tests that differ by distribution on Jazzy's client library
	@PYTHONPATH=$(CURDIR) .venv-jazzy/bin/python -m pytest $(JAZZY_TESTS)

# Its own ROS, and all else that .venv has.
$(JAZZY): test/distributions/jazzy.txt $(READY)
	@echo 'setting up .venv-jazzy ...'
	@.venv/bin/python -m venv --clear .venv-jazzy
	@.venv-jazzy/bin/pip install --disable-pip-version-check -r $< > .venv-jazzy/pip.log 2>&1 \
	  || { grep -i '^ *error' .venv-jazzy/pip.log; echo 'error: pip failed, see .venv-jazzy/pip.log'; exit 1; } >&2
	@.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(.venv-jazzy/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz_shared.pth"
	@.venv-jazzy/bin/python -c 'import rclpy, torch; assert ".venv-jazzy" in rclpy.__file__'
	@touch $@

coverage: $(READY) ## run the tests, or TESTS=test/..., and list the ten least covered files
	@.venv/bin/python -c 'import coverage' 2>/dev/null || .venv/bin/pip install -q 'coverage>=7.10'
	@mkdir -p out/coverage && .venv/bin/coverage erase
	-@.venv/bin/coverage run -m pytest $(TESTS)
	@.venv/bin/coverage combine -q && .venv/bin/coverage html -q
	@.venv/bin/coverage report > out/coverage/report.txt
	@head -12 out/coverage/report.txt; grep TOTAL out/coverage/report.txt
	@echo 'out/coverage/html/index.html'

docs: $(READY) ## build the pages of docs/ as a site in out/site
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet
	@echo 'out/site/index.html'

lint: $(READY) ## check style and static types
	@.venv/bin/ruff check .
	@.venv/bin/mypy

clean: ## remove what was made here
	rm -rf .venv .venv-jazzy out/demo out/site out/coverage build install log *.egg-info
