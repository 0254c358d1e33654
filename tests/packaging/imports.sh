#!/usr/bin/env bash
# What the core library takes from outside: only the C library, libm and OpenMP, with no library of CUDA or C++ beside
# them; nothing that prints, ends the process, raises signals, starts programs, or depends on chance or the locale. The
# environment is read for CSRNORM_ISA and CSRNORM_CUDA_OVERLAP alone. What it calls is read off the static library,
# since the shared one holds the CUDA runtime too.
set -euo pipefail
library=$PREFIX/$LIBDIR/libcsrnorm.so
archive=$PREFIX/$LIBDIR/libcsrnorm.a

foreign=$(readelf -d "$library" | sed -nE 's/.*NEEDED.*\[(.*)\]/\1/p' |
  grep -vE '^(libc|libm|libgcc_s|libpthread|libdl|librt|ld-linux[a-z0-9-]*|libgomp|libomp)\.so\.[0-9]+$|^libomp\.so$' || true)
[[ -z $foreign ]] || { echo "linked libraries that are not allowed: $foreign" && exit 1; }

# imported_by PATTERN: what the members of the archive take from outside whose names match.
imported_by() {
  nm --undefined-only "$archive" | awk -v pattern="$1" '/:$/ { wanted = $0 ~ pattern } wanted && NF > 1 { print $NF }' |
    sort -u
}
imported=$(imported_by '[.]c[.]o:$')
cuda_imported=$(imported_by '[.]cu[.]o:$')
grep -qx malloc <<<"$imported" || grep -qx aligned_alloc <<<"$imported" ||
  { echo "the archive was not understood" && exit 1; }
forbidden='^(_*v?f?w?printf(_chk)?|v?dprintf|_*v?[fd]printf_chk|f?puts|f?putc|putchar|f?write|perror|psignal|syslog'
forbidden+='|abort|_?_?exit|_Exit|quick_exit|at_quick_exit|__assert_fail|raise|kill|signal|sigaction|longjmp|siglongjmp'
forbidden+='|system|popen|exec[lv]p?e?|posix_spawn|secure_getenv|setenv|unsetenv|putenv|clearenv|environ'
forbidden+='|setlocale|s?rand|s?random|[dlmn]rand48|stdout|stderr|stdin)$'
# In a host copy of each function for the device, which nothing calls, nvcc itself puts exit().
found=$(sort -u <(echo "$imported") <(grep -vx exit <<<"$cuda_imported") | grep -E "$forbidden" || true)
[[ -z $found ]] || { echo "imported functions that are not allowed:" "$found" && exit 1; }

# Seen to work: a pattern which the list above lets through would be no check.
for name in printf __printf_chk fprintf __fprintf_chk vfprintf puts abort exit _exit __assert_fail stderr; do
  grep -qE "$forbidden" <<<"$name" || { echo "the check would miss $name" && exit 1; }
done

# What the CUDA backend calls is in C: users of the static library need no C++ runtime. Launches by <<<>>> would, in
# functions that nvcc makes.
found=$(grep -E '^(__cxa_[^a]|__gxx_|_Unwind_|_Z(n|d|S|N[KV]*S|T[IVS]))' <<<"$cuda_imported" || true)
[[ -z $found ]] || { echo "the CUDA backend needs a C++ runtime:" "$found" && exit 1; }
if grep -rnE '<<<|\b(exit|abort) *\(' "$SOURCE/src/cuda"; then
  echo "not allowed in the CUDA backend" && exit 1
fi

read_names=$(grep -rhoE '\bgetenv\([^)]*\)' "$SOURCE/src" --include='*.c' --include='*.cu' --include='*.h' \
  --exclude-dir=io | sort -u)
[[ $read_names == $'getenv("CSRNORM_CUDA_OVERLAP")\ngetenv("CSRNORM_ISA")' ]] || { echo "the environment is read as: $read_names" && exit 1; }
