#!/usr/bin/env bash
# Every installed header compiles alone, as C11 and as C++17, without a warning.
set -euo pipefail
strict=(-Wall -Wextra -Wpedantic -Werror -fsyntax-only)
count=0
while IFS= read -r header; do
  "$CC" -x c -std=c11 "${strict[@]}" -Wstrict-prototypes "$header"
  if [[ -n $CXX ]]; then
    "$CXX" -x c++ -std=c++17 "${strict[@]}" "$header"
  fi
  count=$((count + 1))
done < <(find "$PREFIX/include/csrnorm" -name '*.h')
[[ $count -ge 1 ]]
