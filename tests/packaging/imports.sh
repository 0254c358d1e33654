#!/usr/bin/env bash
# What the core library takes from outside: only the C library, libm and OpenMP; nothing that prints, ends the process,
# raises signals, starts programs, or depends on chance or the locale. The environment is read for CSRNORM_ISA alone.
set -euo pipefail
library=$PREFIX/$LIBDIR/libcsrnorm.so

foreign=$(readelf -d "$library" | sed -nE 's/.*NEEDED.*\[(.*)\]/\1/p' |
  grep -vE '^(libc|libm|libgcc_s|libpthread|ld-linux[a-z0-9-]*|libgomp|libomp)\.so\.[0-9]+$|^libomp\.so$' || true)
[[ -z $foreign ]] || { echo "linked libraries that are not allowed: $foreign" && exit 1; }

imported=$(nm -D --undefined-only "$library" | awk '{ print $NF }' | sed 's/@.*//' | sort -u)
forbidden='^(_*v?f?w?printf(_chk)?|v?dprintf|_*v?[fd]printf_chk|f?puts|f?putc|putchar|f?write|perror|psignal|syslog'
forbidden+='|abort|_?_?exit|_Exit|quick_exit|at_quick_exit|__assert_fail|raise|kill|signal|sigaction|longjmp|siglongjmp'
forbidden+='|system|popen|exec[lv]p?e?|posix_spawn|secure_getenv|setenv|unsetenv|putenv|clearenv|environ'
forbidden+='|setlocale|s?rand|s?random|[dlmn]rand48|stdout|stderr|stdin)$'
found=$(grep -E "$forbidden" <<<"$imported" || true)
[[ -z $found ]] || { echo "imported functions that are not allowed:" "$found" && exit 1; }

# Seen to work: a pattern which the list above lets through would be no check.
for name in printf __printf_chk fprintf __fprintf_chk vfprintf puts abort exit _exit __assert_fail stderr; do
  grep -qE "$forbidden" <<<"$name" || { echo "the check would miss $name" && exit 1; }
done

read_names=$(grep -rhoE '\bgetenv\([^)]*\)' "$SOURCE/src" --include='*.c' --include='*.h' --exclude-dir=io | sort -u)
[[ $read_names == 'getenv("CSRNORM_ISA")' ]] || { echo "the environment is read as: $read_names" && exit 1; }
