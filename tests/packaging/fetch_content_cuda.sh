#!/usr/bin/env bash
# fetch_content_cuda.sh NVCC GENERATOR: a project in C alone that takes csrnorm's sources, with the CUDA backend, is
# configured and will be linked by the C compiler; nothing is built.
set -euo pipefail
rm -rf "$WORK"
CUDACXX=$1 "$CMAKE" -G "$2" -S "$SOURCE/tests/packaging/consumer" -B "$WORK" -DCMAKE_C_COMPILER="$CC" \
  -DCMAKE_BUILD_TYPE=Release -DCONSUMER_LANGUAGE=C -DCONSUMER_TARGET=csrnorm::csrnorm_static \
  -DCONSUMER_SOURCE="$SOURCE" -DCSRNORM_CUDA=ON
if [[ -e $WORK/build.ninja ]]; then
  grep '^build consumer:' "$WORK/build.ninja" | grep -q ': C_EXECUTABLE_LINKER'
else
  read -r linker _ <"$WORK/CMakeFiles/consumer.dir/link.txt"
  [[ $linker == "$CC" ]]
fi
