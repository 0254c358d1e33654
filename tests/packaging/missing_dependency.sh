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
if message=$(configure cuda -DCSRNORM_CUDA=ON -DCSRNORM_BUILD_CLI=OFF -DCSRNORM_BUILD_TESTS=OFF); then
  echo "CSRNORM_CUDA=ON passed without a CUDA backend" && exit 1
fi
[[ $(tr -s '[:space:]' ' ' <<<"$message") == *'has no CUDA backend'* ]]
message=$(configure core -DCMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON -DCMAKE_DISABLE_FIND_PACKAGE_cmocka=ON \
  -DCSRNORM_BUILD_CLI=OFF -DCSRNORM_BUILD_TESTS=OFF)
grep -q 'command line *no' <<<"$message"
