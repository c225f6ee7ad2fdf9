#!/usr/bin/env bash
# What `make bench` calls: bench/run.sh [options of python -m bench.run]
# PYTHON names the interpreter whose packages are compared, BUILD the folder with bench_kernels.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
BUILD="${BUILD:-build}"
export PYTHONPATH="$PWD/python${PYTHONPATH:+:$PYTHONPATH}"

if ! "$PYTHON" -c 'import numpy, safetensors, tokenizers, bertcpp' 2>/dev/null; then
  echo "The benchmarks need NumPy, safetensors and tokenizers in $PYTHON: run \`make bench-peers\` first." >&2
  exit 1
fi
exec "$PYTHON" -m bench.run --native "$BUILD/bench_kernels" "$@"
