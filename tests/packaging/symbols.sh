#!/usr/bin/env bash
# The shared library exports exactly the functions that the header declares with CSRN_API, under the right SONAME.
set -euo pipefail
library=$PREFIX/$LIBDIR/libcsrnorm.so

# The header without comments, as one line; then the name before the parenthesis of each declaration.
declared=$("$CC" -fpreprocessed -dD -E -P "$PREFIX/include/csrnorm/csrnorm.h" | tr '\n' ' ' | sed 's/#define[^;]*)))//' |
  grep -oE 'CSRN_API [^;(]*\(' | sed -E 's/.*[ *]([a-z0-9_]+)\($/\1/' | sort)
exported=$(nm -D --defined-only "$library" | awk '{ print $NF }' | sed 's/@.*//' | sort)

[[ $(wc -l <<<"$declared") -ge 20 ]] || { echo "the header was not understood:" "$declared" && exit 1; }
if ! diff <(echo "$declared") <(echo "$exported"); then
  echo "(<: only declared in the header; >: only exported by the library)"
  exit 1
fi
readelf -d "$library" | grep -q 'SONAME.*\[libcsrnorm\.so\.0\]'
[[ $(readlink -f "$library") == *"/libcsrnorm.so.$VERSION" ]]
