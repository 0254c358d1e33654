#!/usr/bin/env bash
# shellcheck disable=SC2016
# gpu_verify.sh SOURCE CTEST: scripts/gpu-verify on a copy of the sources, with programs that stand in for nvidia-smi,
# compute-sanitizer and a build: what it says without a GPU, what it records, and how a record becomes stale.
set -euo pipefail
source=$1
ctest=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
bin=$work/bin
build=$work/build
records=$tree/bench/results
mkdir -p "$tree/src" "$tree/include" "$records" "$bin" "$build/bin" "$build/lib"
cp -R "$source/scripts" "$tree"
cp -R "$source/src/." "$tree/src"
cp -R "$source/include/." "$tree/include"
verify=$tree/scripts/gpu-verify
export PATH=$bin:$PATH CUDA_PATH=/nonexistent

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  [[ ! -f $work/out ]] || cat "$work/out" >&2
  exit 1
}

# expect CODE PATTERN COMMAND...: its exit code, and a line of its output.
expect() {
  local code=0 expected=$1 pattern=$2
  shift 2
  "$@" >"$work/out" 2>&1 || code=$?
  [[ $code == "$expected" ]] || fail "exit code $code, expected $expected: $*"
  grep -qE -- "$pattern" "$work/out" || fail "no line like '$pattern': $*"
}

# program FILE LINE...: a script.
program() {
  local file=$1
  shift
  printf '%s\n' '#!/usr/bin/env bash' "$@" >"$file"
  chmod +x "$file"
}

without_gpu() { program "$bin/nvidia-smi" 'echo "no devices were found"; exit 6'; }
with_gpu() {
  program "$bin/nvidia-smi" 'if [[ $1 == -L ]]; then echo "GPU 0: Stand-in 7"; else echo "Stand-in 7, 1.2.3, 100 MiB, 9.0"; fi'
}

# ---- The hash follows the sources
expect 0 '^[0-9a-f]{64}$' "$verify" --hash
before=$(<"$work/out")
echo '/* */' >>"$tree/src/numerics.h"
expect 0 '^[0-9a-f]{64}$' "$verify" --hash
[[ $(<"$work/out") != "$before" ]] || fail "the hash does not follow numerics.h"
cp "$source/src/numerics.h" "$tree/src/numerics.h"
[[ $("$verify" --hash) == "$before" ]] || fail "the hash is not that of the contents"
[[ $("$verify" --sources | grep -c '^src/cuda/') == $(find "$tree/src/cuda" -name '*.cu' -o -name '*.h' | wc -l) ]] ||
  fail "not all of src/cuda is among the sources"

# ---- Without a GPU: one sentence
without_gpu
expect 1 '^scripts/gpu-verify: no CUDA device: .*no devices were found$' "$verify" "$build"
[[ $(wc -l <"$work/out") == 1 ]] || fail "more than one sentence"
expect 77 'never run on a GPU' "$verify" --check
expect 2 '^Usage' "$verify" --frobnicate

# ---- With stand-ins for everything, as if packed on another machine
with_gpu
for name in isa_bits backend_bits views errors_matrix axis_sum guest_streams guest_host gpu_bench; do program "$build/bin/test_$name" 'exit 0'; done
program "$build/bin/gpu_bench" 'echo "{\"matrices\": ["; echo "{\"check\": \"ok\"}"; echo "]}"'
program "$bin/compute-sanitizer" 'while [[ $1 == -* ]]; do shift 2; done; exec "$@"'
program "$bin/ctest" "exec '$ctest' \"\$@\""
printf 'CMAKE_CACHEFILE_DIR:INTERNAL=/elsewhere/build\nCMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere\n' >"$build/CMakeCache.txt"
for name in isa_bits backend_bits axis_sum guest_host; do
  printf 'add_test(%s.cuda "/elsewhere/build/bin/test_%s" "cuda")\n' $name $name >>"$build/CTestTestfile.cmake"
done
printf 'hash %s\ncommit 0123\n' "$before" >"$build/gpu-pack.txt"
expect 0 'the record: ' "$verify" "$build"
record=$(echo "$records"/gpu-stand-in-7-*.json)
for step in device build suite bits guest memcheck racecheck initcheck synccheck benchmark; do
  grep -q "{\"name\": \"$step\", \"outcome\": \"passed\"" "$record" || fail "$step has not passed: $(<"$record")"
done
grep -q '"name": "cupy", "outcome": "missing"' "$record" || fail "cupy is not missing"
grep -q "^  \"hash\": \"$before\",$" "$record" || fail "no hash in the record"
grep -q '"commit": "0123"' "$record" || fail "no commit in the record"
! command -v python3 >/dev/null || python3 -m json.tool "$record" >/dev/null || fail "the record is no JSON"
expect 0 'ran on a GPU: Stand-in 7, 20.*missing there: cupy' "$verify" --check

# ---- Stale: a failure where there is a GPU
echo '/* */' >>"$tree/src/numerics.h"
expect 1 'of other sources' "$verify" --check
expect 1 'FAILED: build' "$verify" --output "$work/other" "$build"
without_gpu
expect 77 'of other sources' "$verify" --check
cp "$source/src/numerics.h" "$tree/src/numerics.h"
expect 0 'ran on a GPU' "$verify" --check

# ---- What fails is recorded, and what is missing does not stop the rest
with_gpu
program "$build/bin/test_axis_sum" 'echo wrong; exit 1'
program "$build/bin/gpu_bench" 'exit 1'
program "$bin/compute-sanitizer" 'echo "========= Error: Device not supported. Please refer to"; exit 1'
expect 1 'FAILED: suite benchmark' "$verify" "$build"
grep -q '"name": "suite", "outcome": "failed".*axis_sum.cuda' "$record" || fail "the failed test is not named"
grep -q '"name": "memcheck", "outcome": "missing".*refused' "$record" || fail "a tool that refuses is not missing"
grep -q '"gpu_bench": null' "$record" || fail "results of a failed benchmark"
expect 1 'steps that failed there: suite benchmark' "$verify" --check
program "$bin/compute-sanitizer" 'while [[ $1 == -* ]]; do shift 2; done; exec "$@"'
program "$build/bin/test_axis_sum" 'exit 0'
program "$build/bin/test_views" '[[ ${CSRNORM_CUDA_OVERLAP-} == 0 ]]'
expect 1 'memcheck +failed .*views:.*with one kernel after the other: passed' "$verify" "$build"
program "$build/bin/test_views" 'exit 1'
expect 1 'memcheck +failed .*views:.*with one kernel after the other: failed' "$verify" "$build"
program "$build/bin/test_views" 'exit 0'
program "$build/bin/gpu_bench" 'sleep 30'
sed -i 's/^  step benchmark [0-9]*/  step benchmark 1/' "$verify"
expect 1 'benchmark +failed .* not done within 1 seconds' "$verify" "$build"
echo "all right"
