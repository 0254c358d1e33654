#!/usr/bin/env bash
# The shared library exports exactly the functions that the header declares with CSRN_API, under the right SONAME.
set -euo pipefail
library=$PREFIX/$LIBDIR/libcsrnorm.so

# The header without comments and macros, as one line; then the name before the parenthesis of each declaration.
declared=$(grep -v '^#include' "$PREFIX/include/csrnorm/csrnorm.h" | "$CC" -E -P -x c - | tr '\n' ' ' |
  grep -oE '\(visibility\("default"\)\)\) [^;(]*\(' | sed -E 's/.*[ *]([a-z0-9_]+)\($/\1/' | sort)
exported=$(nm -D --defined-only "$library" | awk '{ print $NF }' | sed 's/@.*//' | sort)

[[ $(wc -l <<<"$declared") -ge 20 ]] || { echo "the header was not understood:" "$declared" && exit 1; }
if ! diff <(echo "$declared") <(echo "$exported"); then
  echo "(<: only declared in the header; >: only exported by the library)"
  exit 1
fi
readelf -d "$library" | grep -q 'SONAME.*\[libcsrnorm\.so\.0\]'
[[ $(readlink -f "$library") == *"/libcsrnorm.so.$VERSION" ]]
