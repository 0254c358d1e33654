#!/usr/bin/env bash
# The C example of README.md compiles as it stands there, with the command given beside it, and prints what the README
# says it prints.
set -euo pipefail
rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"

# block LANGUAGE: the first fenced block of that language.
block() { awk -v fence="\`\`\`$1" '/^```/ && inside { exit } inside { print } $0 == fence { inside = 1 }' "$SOURCE/README.md"; }

block c >example.c
block output >expected
[[ -s example.c && -s expected ]] || { echo "no example in README.md" && exit 1; }
export PKG_CONFIG_PATH=$PREFIX/$LIBDIR/pkgconfig
read -ra flags <<<"$(pkg-config --cflags --libs csrnorm)"
"$CC" -std=c11 -Wall -Wextra -Wpedantic -Werror example.c -o example "${flags[@]}"
LD_LIBRARY_PATH=$PREFIX/$LIBDIR ./example >printed
diff expected printed
