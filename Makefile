# Every command of the project. `make` alone lists them.
# Without PYTHON=... everything happens in .venv, which is made on first use; PYTHON=path/to/python uses that one instead.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

HOST_PYTHON ?= python3
PYTHON ?= .venv/bin/python
JOBS ?= $(shell nproc)
BUILD ?= build
WERROR ?= ON
CMAKE_ARGS ?=

PIP := $(PYTHON) -m pip --disable-pip-version-check -q
PYTHON_BIN := $(dir $(abspath $(PYTHON)))
# cmake and ninja come from the environment of PYTHON if it has them, else from the system.
WITH_TOOLS := PATH="$(PYTHON_BIN):$$PATH"

ifeq ($(PYTHON),.venv/bin/python)
VENV := .venv/created
TOOLS := .venv/native-tools
endif

.venv/created:
	@$(HOST_PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "bertcpp needs Python 3.10 or later; name one with make HOST_PYTHON=...")'
	$(HOST_PYTHON) -m venv .venv || { echo 'Could not make .venv. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@touch $@

.venv/native-tools: .venv/created
	$(PIP) install 'cmake>=3.20' ninja 'pybind11>=3'
	@touch $@

core: $(TOOLS)  ## build the extension and the native programs into build/, and put the extension beside the Python sources
	$(WITH_TOOLS) cmake -S . -B $(BUILD) -G Ninja -Wno-dev \
	  -DPython_EXECUTABLE="$(abspath $(PYTHON))" -Dpybind11_DIR="$$($(PYTHON) -m pybind11 --cmakedir)" \
	  -DBERTCPP_BUILD_TESTS=ON -DBERTCPP_BUILD_BENCHMARKS=ON -DBERTCPP_WERROR=$(WERROR) $(CMAKE_ARGS)
	$(WITH_TOOLS) cmake --build $(BUILD) -j $(JOBS)
	cp $(BUILD)/_core*.so python/bertcpp/

clean:  ## remove build folders, caches and .venv
	rm -rf .venv build build-* dist wheelhouse .pytest_cache .mypy_cache .ruff_cache .hypothesis python/bertcpp/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: core clean help
