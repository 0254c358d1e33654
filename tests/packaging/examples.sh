#!/usr/bin/env bash
# examples.sh find_package|pkg_config [NVCC]: the programs of docs/examples are built with the installed library, without a
# warning, and print what docs/examples.md says; the one in CUDA is compiled where there is a compiler, and run where there is
# a device too.
set -euo pipefail
way=$1 nvcc=${2-}
folder=$SOURCE/docs/examples
rm -rf "$WORK"
mkdir -p "$WORK"
export LD_LIBRARY_PATH=$PREFIX/$LIBDIR
if [[ $way == find_package ]]; then
  CUDACXX=${nvcc:-/nonexistent} "$CMAKE" -S "$folder" -B "$WORK" -DCMAKE_C_COMPILER="$CC" -DCMAKE_PREFIX_PATH="$PREFIX" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS="-Wall -Wextra -Werror"
  "$CMAKE" --build "$WORK"
else
  command -v pkg-config >/dev/null || exit 77
  export PKG_CONFIG_PATH=$PREFIX/$LIBDIR/pkgconfig
  read -ra flags <<<"$(pkg-config --cflags --libs csrnorm)"
  "$CC" -std=c11 -Wall -Wextra -Werror "$folder/normalize_counts.c" -o "$WORK/normalize_counts" "${flags[@]}"
  [[ -z $nvcc ]] || "$nvcc" -std=c++17 -arch=sm_90 --Werror=all-warnings "$folder/normalize_on_stream.cu" -o "$WORK/normalize_on_stream" "${flags[@]}"
fi
"$folder/expect.sh" "$SOURCE/docs/examples.md" 1 "$WORK/normalize_counts"
[[ -n $nvcc ]] || { echo "no CUDA compiler: the example in CUDA was not built" && exit 0; }
code=0
"$folder/expect.sh" "$SOURCE/docs/examples.md" 2 "$WORK/normalize_on_stream" || code=$?
[[ $code == 0 || $code == 77 ]] # without a device it has been compiled and linked
