#!/usr/bin/env bash
# Runs the portable build on an emulated processor without AVX: the native programs, and an embedding from Python.
# Run by `make no-avx`.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
processor=Nehalem  # SSE4.2, which NumPy's wheels ask for, and nothing later
build=${BUILD:-build}

if [ "$(uname -m)" != x86_64 ]; then
  echo "SKIPPED: AVX is a matter of x86-64, this is $(uname -m)"
  exit 0
fi
if ! command -v qemu-x86_64 >/dev/null; then
  echo 'SKIPPED: qemu-x86_64 not found (on Debian: apt-get install qemu-user)'
  exit 0
fi

[ "$(qemu-x86_64 -cpu $processor "$build/kernel_tests" --list | cut -d' ' -f1 | sort -u)" = scalar ] ||
  { echo "kernel_tests finds more than scalar kernels on $processor" >&2; exit 1; }
PYTHON=$PYTHON tests/run_native.sh "$build" qemu-x86_64 -cpu $processor

"$PYTHON" -c 'import bertcpp' 2>/dev/null || export PYTHONPATH=$PWD/python
program='
import bertcpp, numpy, sys
assert bertcpp.instruction_sets() == sys.argv[2:] or not sys.argv[2:], bertcpp.instruction_sets()
embeddings = bertcpp.SentenceTransformer("all-MiniLM-L6-v2").encode(["A man is eating.", "Someone has a meal."])
numpy.save(sys.argv[1], embeddings)'
cd "$build"
"$PYTHON" -c "$program" expected.npy
qemu-x86_64 -cpu $processor "$PYTHON" -c "$program" emulated.npy scalar
"$PYTHON" -c '
import numpy
expected, emulated = numpy.load("expected.npy"), numpy.load("emulated.npy")
difference = abs(expected - emulated).max() / abs(expected).max()
assert difference < 2e-5, difference
print(f"  Python: embeddings agree within {difference:.1e} of the largest magnitude")'
