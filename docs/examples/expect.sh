#!/usr/bin/env bash
# expect.sh TEXT N PROGRAM...: the program prints the N-th block ```output of the text; 77 if it says that there is no device.
set -euo pipefail
text=$1 n=$2
shift 2
expected=$(awk -v n="$n" '/^```/ && inside { inside = 0 } inside { print } /^```output$/ { inside = ++found == n }' "$text")
[[ -n $expected ]] || { echo "no block $n of output in $text" && exit 1; }
code=0
printed=$("$@") || code=$?
[[ $code == 0 ]] || exit "$code"
diff <(echo "$expected") <(echo "$printed")
