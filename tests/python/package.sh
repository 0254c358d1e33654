#!/usr/bin/env bash
# The package as users get it: a wheel of the source, installed into a fresh virtual environment where no compiler is to
# be found, and the Python example of README.md run as it stands there. Other packages (numpy, scanpy) are those of the
# Python under test, so that nothing is downloaded. The library is built without optimization, in seconds.
set -euo pipefail
skip() { echo "skipped: $1" && exit 77; }
"$PYTHON" -c 'import pip' 2>/dev/null || skip "$PYTHON has no pip"
"$PYTHON" -c 'import scikit_build_core' 2>/dev/null || skip "$PYTHON has no scikit-build-core"
"$PYTHON" -c 'import scanpy' 2>/dev/null || skip "$PYTHON has no scanpy"
rm -rf "$WORK"
mkdir -p "$WORK"
cd "$WORK"

options=(--quiet --no-build-isolation --no-index --config-settings cmake.build-type=Debug
  --config-settings "build-dir=$WORK/build" --config-settings cmake.define.CSRNORM_WERROR=ON)
PATH=$(dirname "$PYTHON"):$PATH
if command -v auditwheel >/dev/null && command -v patchelf >/dev/null; then
  CSRNORM_PYTHON=$PYTHON CSRNORM_WHEELS=$WORK "$SOURCE/scripts/wheel" "${options[@]}"
  tag=manylinux_
else # and nothing is to be downloaded
  echo "without auditwheel and patchelf: the wheel is not made for other machines"
  "$PYTHON" -m pip --disable-pip-version-check wheel "$SOURCE" --no-deps -w . "${options[@]}"
  tag=linux_
fi
wheels=(*.whl)
[[ ${#wheels[@]} == 1 && ${wheels[0]} == csrnorm-*-py3-none-$tag*.whl ]] ||
  { echo "not one wheel for Python 3 and $tag*: ${wheels[*]}" && exit 1; }

"$PYTHON" -m venv --without-pip fresh
packages=$(fresh/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$PYTHON" -c 'import site, sys; print("\n".join(p for p in sys.path if p.endswith("-packages")))' >"$packages/others.pth"
empty=(env -i "PATH=$WORK/fresh/bin" "HOME=$WORK")
"${empty[@]}" fresh/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-index "${wheels[0]}"

# block LANGUAGE: the first fenced block of that language.
block() { awk -v fence="\`\`\`$1" '/^```/ && inside { exit } inside { print } $0 == fence { inside = 1 }' "$SOURCE/README.md"; }
block python >example.py
block text >expected
[[ -s example.py && -s expected ]] || { echo "no example in README.md" && exit 1; }
"${empty[@]}" fresh/bin/python -W ignore example.py >printed
diff expected printed

"${empty[@]}" fresh/bin/python - "$packages" <<'PYTHON'
import sys
import csrnorm
from csrnorm._library import lib
assert str(lib.path).startswith(sys.argv[1]), lib.path
csrnorm.axis_sum(__import__("numpy").ones((2, 2)), axis=1)
maps = [line.split()[-1] for line in open("/proc/self/maps") if "csrnorm/libgomp" in line]
assert "GNU" not in csrnorm.build_info() or maps, "the OpenMP runtime of the wheel is not the one in use"
PYTHON
