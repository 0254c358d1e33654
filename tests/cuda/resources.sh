#!/usr/bin/env bash
# resources.sh OBJECT...: what each kernel of the CUDA backend uses, as ptxas said when the objects were built
# (cmake/ptxas_log.sh). Fails if a kernel, or a function that it calls, spills registers.
set -euo pipefail

logs=()
for object in "$@"; do
  [[ -e $object && -e $object.ptxas ]] || { echo "not built, or built without its report: $object" && exit 1; }
  logs+=("$object.ptxas")
done

# One line per kernel and GPU: GPU registers shared stack spill-stores spill-loads NAME.
table=$(awk '
  function quoted(number,  parts) { split($0, parts, "\047"); return parts[number] }
  function number_before(text,  pattern) {
    pattern = "[0-9]+ " text
    return match($0, pattern) ? substr($0, RSTART, RLENGTH) + 0 : 0
  }
  function show() { if (kernel != "") print gpu, registers, shared, stack, stores, loads, kernel }
  /Compiling entry function/ { show(); kernel = quoted(2); gpu = quoted(4); stack = stores = loads = 0 }
  # Functions that are called have their own frames; they come after the kernel that they are compiled for.
  /bytes stack frame/ {
    stack += number_before("bytes stack frame")
    stores += number_before("bytes spill stores")
    loads += number_before("bytes spill loads")
  }
  /Used [0-9]+ registers/ { registers = number_before("registers"); shared = number_before("bytes smem") }
  END { show() }
' "${logs[@]}" | c++filt)

if [[ -z $table ]]; then
  echo "skipped: no code for a GPU was compiled, only PTX"
  exit 77
fi
printf '%-7s %9s %7s %6s %6s  %s\n' GPU registers shared stack spills kernel
sort -k1,1 -k2,2nr <<<"$table" | sed 's/(anonymous namespace):://g' |
  awk '{ name = $7; for (i = 8; i <= NF; i++) name = name " " $i
         printf "%-7s %9d %7d %6d %6d  %s\n", $1, $2, $3, $4, $5 + $6, name }'
awk '{ frames += $4 > 0; spilling += $5 + $6 > 0 }
     END { printf "%d kernels: %d with a stack frame, %d with spilled registers\n", NR, frames, spilling
           exit spilling > 0 }' <<<"$table"
