#!/usr/bin/env bash
# The installed program runs from where it was moved to and says the project's version; its manual page and completions
# are installed.
set -euo pipefail
[[ $("$PREFIX/bin/csrnorm" --version | head -n 1) == *"$VERSION"* ]]
if readelf -d "$PREFIX/bin/csrnorm" | grep -E 'RPATH|RUNPATH'; then
  exit 1
fi
for file in share/man/man1/csrnorm.1 share/bash-completion/completions/csrnorm share/zsh/site-functions/_csrnorm; do
  [[ -s $PREFIX/$file ]] || { echo "not installed: $file" && exit 1; }
done
