#!/usr/bin/env bash
# Runs the native test programs of a build folder, each with the words before it that follow the folder:
#   tests/run_native.sh build
#   tests/run_native.sh build-neon qemu-aarch64 -L /usr/aarch64-linux-gnu
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
build=$1
shift

run() {
  local program=$1 started=$SECONDS
  "${@:2}" >"$build/$program.log" 2>&1 || { cat "$build/$program.log"; echo "$program failed" >&2; exit 1; }
  echo "  $program: $(grep -c ': ok' "$build/$program.log") checks passed in $((SECONDS - started)) s"
}

# What transformers computes is written by this machine's Python, whatever the programs are compiled for.
rm -rf "$build/cases"
env -u LD_PRELOAD "$PYTHON" tests/native/write_cases.py "$build/cases" >/dev/null
# qemu-user cannot fork a process with threads reliably, which the tests of the runtime do.
[ $# -gt 0 ] || run runtime_tests "$build/runtime_tests"
[ $# -gt 0 ] || run amx_tests "$build/amx_tests"
run kernel_tests "$@" "$build/kernel_tests"
run encoder_check "$@" "$build/encoder_check" "$build"/cases/*.case
# Emulated within emulation it would take minutes; two families do, which under AddressSanitizer takes one or two. The
# emulated GPU's threads have stacks of their own, which the sanitizer's copies of them do not follow.
[ $# -gt 0 ] || ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_stack_use_after_return=0 run cuda_check "$build/cuda_check" \
  "$build"/cases/{electra,mpnet-masked}.case
