#!/usr/bin/env bash
# find_package takes the version asked for when it fits, and refuses another minor or major one.
set -euo pipefail
rm -rf "$WORK"
mkdir -p "$WORK"
IFS=. read -r major minor _ <<<"$VERSION"

found() {
  printf 'find_package(csrnorm %s CONFIG QUIET)\nif(NOT csrnorm_FOUND)\n  message(FATAL_ERROR no)\nendif()\n' "$1" \
    >"$WORK/CMakeLists.txt"
  printf 'cmake_minimum_required(VERSION 3.22)\nproject(p LANGUAGES NONE)\n' | cat - "$WORK/CMakeLists.txt" >"$WORK/all"
  mv "$WORK/all" "$WORK/CMakeLists.txt"
  rm -rf "$WORK/build"
  "$CMAKE" -S "$WORK" -B "$WORK/build" -DCMAKE_PREFIX_PATH="$PREFIX" >/dev/null 2>&1
}

found ""
found "$major.$minor"
found "$VERSION EXACT"
for other in "$major.$((minor + 1))" "$((major + 1)).0"; do
  if found "$other"; then
    echo "version $other was found" && exit 1
  fi
done
