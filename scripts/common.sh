# shellcheck shell=bash disable=SC2034
# What quickstart, test and gpu-verify share: messages, installing what is missing, building. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc 2>/dev/null || echo 2)

build_packages=(gcc libc6-dev cmake ninja-build pkg-config libhdf5-dev libzip-dev liblzf-dev zlib1g-dev
  libdeflate-dev libisal-dev)
# Where there is a CUDA compiler, it compiles with g++.
if command -v "${CUDACXX:-nvcc}" >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; then
  build_packages+=(g++)
fi

has_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

say() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }

# is_installed PACKAGE: whether dpkg has it.
is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# is_offered PACKAGE: whether apt-get could install it.
is_offered() { [[ $(apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [^\(] ]]; }

# as_root COMMAND...: runs it as root, through sudo where needed; fails where neither is possible.
as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    return 1
  fi
}

# install_missing PACKAGE...: installs those that are missing on Debian and Ubuntu. Elsewhere, or where that fails,
# says what is needed and goes on: what is really missing, the build will name.
install_missing() {
  local missing=() package
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    note "Not Debian or Ubuntu: if a step fails, install what these packages of Debian hold:"
    note "$*"
    return
  fi
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  say "Installing ${missing[*]}"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" \
    >/dev/null 2>&1; then
    if ! { as_root apt-get update -qq &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"; } \
      >/dev/null; then
      note "They could not be installed. Going on without; if a step fails, install them first:"
      note "apt-get install ${missing[*]}"
    fi
  fi
}

# quietly LOG COMMAND...: keeps the output in LOG and shows its end if the command fails.
quietly() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  if ! "$@" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    printf '\nFailed: %s\nThe whole output: %s\n' "$*" "$log" >&2
    return 1
  fi
}

# build PRESET [TARGET] [-D...]: configures and builds one of CMakePresets.json.
build() {
  local preset=$1 target=all
  shift
  if [[ $# -gt 0 && $1 != -* ]]; then
    target=$1
    shift
  fi
  say "Building $preset"
  (cd "$root" &&
    quietly "build/$preset-configure.log" cmake --preset "$preset" "$@" &&
    quietly "build/$preset-build.log" cmake --build --preset "$preset" --target "$target" --parallel "$jobs")
}
