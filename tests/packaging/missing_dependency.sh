#!/usr/bin/env bash
# A configure without a library names Debian's package and the option that does without; with that option it passes.
set -euo pipefail
rm -rf "$WORK"
mkdir -p "$WORK"

configure() { "$CMAKE" -S "$SOURCE" -B "$WORK/$1" -DCMAKE_C_COMPILER="$CC" -DCSRNORM_CUDA=OFF "${@:2}" 2>&1; }

if message=$(configure all -DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON -DCMAKE_DISABLE_FIND_PACKAGE_cmocka=ON); then
  echo "the configure passed" && exit 1
fi
for word in zlib1g-dev libcmocka-dev -DCSRNORM_BUILD_CLI=OFF -DCSRNORM_BUILD_TESTS=OFF; do
  grep -qe "$word" <<<"$message" || { echo "not in the message: $word" && exit 1; }
done
# A CUDA compiler that compiles nothing is none: required it is an error, else the backend is left out.
core_only=(-DCSRNORM_BUILD_CLI=OFF -DCSRNORM_BUILD_TESTS=OFF)
CUDACXX=$(command -v false)
export CUDACXX
if message=$(configure cuda -DCSRNORM_CUDA=ON "${core_only[@]}"); then
  echo "CSRNORM_CUDA=ON passed without a CUDA compiler" && exit 1
fi
for word in cuda-nvcc cuda-cudart-dev 'g++' -DCSRNORM_CUDA=OFF; do
  grep -qFe "$word" <<<"$message" || { echo "not in the message: $word" && exit 1; }
done
message=$(configure automatic -DCSRNORM_CUDA=AUTO "${core_only[@]}")
grep -q 'CUDA backend *no:' <<<"$message"
message=$(configure core -DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON -DCMAKE_DISABLE_FIND_PACKAGE_cmocka=ON "${core_only[@]}")
grep -q 'command line *no' <<<"$message"
