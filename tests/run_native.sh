#!/usr/bin/env bash
# Runs the native test programs of a build folder, each with the command before it that is given after the folder:
#   tests/run_native.sh build
#   tests/run_native.sh build-neon qemu-aarch64 -L /usr/aarch64-linux-gnu
set -euo pipefail
build=$1
shift
for program in runtime_tests kernel_tests; do
  echo "$program"
  "$@" "$build/$program"
done
