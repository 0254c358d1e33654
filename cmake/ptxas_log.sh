#!/usr/bin/env bash
# ptxas_log.sh COMPILER ARGUMENT...: compiles a CUDA file and keeps what ptxas says of its kernels in OBJECT.ptxas, for
# the test cuda.resources, instead of showing pages of it. Everything else that the compiler says is passed on.
previous=
for argument in "$@"; do
  [[ $previous != -o ]] || object=$argument
  previous=$argument
done
information='^ptxas info|^ +[0-9]+ bytes stack frame'

"$@" 2>"$object.messages"
status=$?
grep -E "$information" "$object.messages" >"$object.ptxas"
grep -vE "$information" "$object.messages" >&2
rm "$object.messages"
exit "$status"
