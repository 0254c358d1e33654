#!/usr/bin/env bash
# headers.sh [CUDA_INCLUDE]: every installed header compiles alone, as C11 and as C++17, without a warning; csrnorm_cuda.h with
# the headers of CUDA, where there are any, and after that of cuSPARSE.
set -euo pipefail
strict=(-Wall -Wextra -Wpedantic -Werror -fsyntax-only)
cuda=${1-}
count=0

# The last argument is the header; as a program includes it: clang has other warnings for a file of its own.
compile() {
  local options=("${@:1:$#-1}" -include "${@: -1}")
  "$CC" -x c -std=c11 "${strict[@]}" -Wstrict-prototypes "${options[@]}" /dev/null
  if [[ -n $CXX ]]; then
    "$CXX" -x c++ -std=c++17 "${strict[@]}" "${options[@]}" /dev/null
  fi
  count=$((count + 1))
}

while IFS= read -r header; do
  if [[ $header != *_cuda.h ]]; then
    compile "$header"
  elif [[ -e $cuda/cuda_runtime_api.h ]]; then
    compile -isystem "$cuda" "$header"
    [[ ! -e $cuda/cusparse.h ]] || compile -isystem "$cuda" -include cusparse.h "$header"
  fi
done < <(find "$PREFIX/include/csrnorm" -name '*.h')
[[ $count -ge 1 ]]
