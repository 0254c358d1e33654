#!/usr/bin/env bash
# pkg_config.sh C|CXX shared|static: compiles and runs the consumer with what csrnorm.pc says of the moved copy. For
# static, that copy holds no shared library, so that Libs.private alone must be enough.
set -euo pipefail
language=$1 kind=$2
command -v pkg-config >/dev/null || exit 77

rm -rf "$WORK"
mkdir -p "$WORK"
cp -R "$PREFIX" "$WORK/prefix"
export PKG_CONFIG_PATH=$WORK/prefix/$LIBDIR/pkgconfig
[[ $(pkg-config --modversion csrnorm) == "$VERSION" ]]

options=()
if [[ $kind == static ]]; then
  rm "$WORK/prefix/$LIBDIR"/libcsrnorm.so*
  options=(--static)
fi
read -ra flags <<<"$(pkg-config --cflags --libs "${options[@]}" csrnorm)"
folder=$SOURCE/tests/packaging/consumer
if [[ $language == CXX ]]; then
  [[ -n $CXX ]] || exit 77
  "$CXX" -std=c++17 -Wall -Wextra -Werror "$folder/consumer.cpp" -o "$WORK/consumer" "${flags[@]}"
else
  "$CC" -std=c11 -Wall -Wextra -Werror "$folder/consumer.c" -o "$WORK/consumer" "${flags[@]}"
fi
LD_LIBRARY_PATH=$WORK/prefix/$LIBDIR "$WORK/consumer" "$VERSION"

linked=$(readelf -d "$WORK/consumer" | grep -c 'NEEDED.*libcsrnorm\.so\.0' || true)
[[ $kind == shared && $linked == 1 || $kind == static && $linked == 0 ]]
