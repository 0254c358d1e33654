#!/usr/bin/env bash
# planted_errors.sh SOURCE_DIR BUILD_DIR: plants errors into copies of the CUDA sources, one at a time, and shows that
# the test axis_sum.cuda-host of that build (with the address sanitizer, by Ninja) finds each of them, by what it tries
# with rows. Only cuda_sums.cu is compiled again, with the headers it includes, and in a third of the time without what
# these errors do not need.
set -euo pipefail
source_dir=$1 build_dir=$2
tests='*row*'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The commands that made the object and the program.
compile=$(cd "$build_dir" && ninja -t commands test_axis_sum_cuda_host | grep -- '-c [^ ]*/src/cuda/cuda_sums\.cu$')
link=$(cd "$build_dir" && ninja -t commands test_axis_sum_cuda_host | tail -n 1)

build() (
  cd "$build_dir"
  eval "$(sed -E "s| -o [^ ]+| -o $work/cuda_sums.cu.o|; s| -M[TF] [^ ]+||g; s| -MD||; s| -c [^ ]+| -c $work/cuda/cuda_sums.cu|" <<<"$compile")" \
    -O0 -fno-sanitize=undefined &&
    cp lib/libcsrnorm_cuda_host.a "$work/" && ar r "$work/libcsrnorm_cuda_host.a" "$work/cuda_sums.cu.o" &&
    eval "$(sed -E "s| -o [^ ]+| -o $work/test|; s|[^ ]*libcsrnorm_cuda_host\.a|$work/libcsrnorm_cuda_host.a|" <<<"$link")"
)

# plant NAME FILE FROM TO: whether the tests notice that FROM became TO in FILE.
plant() {
  local name=$1 file=$2 from=$3 to=$4
  rm -rf "$work/cuda" && cp -r "$source_dir/src/cuda" "$work/cuda"
  FROM=$from TO=$to perl -0pi -e 's/\Q$ENV{FROM}\E/$ENV{TO}/ or die "$ARGV: no such text\n"' "$work/cuda/$file"
  if ! build; then
    echo "$name: could not be built"
    exit 2
  fi
  if "$work/test" cuda "" "$tests" >"$work/log" 2>&1; then
    echo "$name: NOT FOUND"
    return 1
  fi
  echo "$name: found"
  grep -E "ERROR: AddressSanitizer|runtime error|FAILED|!=|simt" "$work/log" | head -n 3 | sed 's/^/    /'
}

if ! (cd "$build_dir" && bin/test_axis_sum_cuda_host cuda "" "$tests") >"$work/log" 2>&1; then
  cat "$work/log"
  echo "The test fails without a planted error."
  exit 1
fi

status=0
plant "a read beyond the end" cuda_row.h 'x[k] = CSRN_WARP * k + lane < n ? values[CSRN_WARP * k] : T(0);' \
  '{ x[k] = values[CSRN_WARP * k]; if (CSRN_WARP * k + lane >= n) x[k] = T(0); }' || status=1
plant "a tail left out" cuda_row.h 'return n > base ? add_batch<FEW, I>(A, op, begin + base, n - base, sum) : sum;' \
  'return sum;' || status=1
plant "a barrier before the sums are read left out" cuda_walk.h '    __syncthreads();
    for (int first = 0; first < n; first += CSRN_BLOCK)' '    for (int first = 0; first < n; first += CSRN_BLOCK)' ||
  status=1
plant "a barrier before a tile is read left out" cuda_copy.h '(void)phase;
    __syncthreads();' '(void)phase;' || status=1
# In a function of the operation: the linker may take others from another object, without the error.
plant "the end of a tile left out" cuda_tile.h 'fits ? static_cast<int>(n) : 0' \
  'fits && n > 0 ? static_cast<int>(n) - 1 : 0' || status=1
plant "the wait for the kernel before left out" cuda_walk.h '  csrn_after_previous();
  if (blockIdx.x < w.n_long_blocks) {' '  if (blockIdx.x < w.n_long_blocks) {' || status=1
# On one multiprocessor, so that a block has several rows; with the warp first that is not waited for.
CSRN_SIMT_MULTIPROCESSORS=1 CSRN_SIMT_ORDER=backward plant "a barrier between two rows left out" cuda_walk.h '__syncthreads(); /* before the next sums' \
  '/* before the next sums' || status=1
exit "$status"
