#!/usr/bin/env python3
"""csrnorm beside cupy and rapids-singlecell on one GPU: one process, the same arrays on the
device, the same stream.

A matrix of counts is made on the device. Every candidate reads arrays that stay as they are
or works on a copy that is restored outside the timed region. Before anything is timed every
candidate's results are compared with numpy's in float64, on the host: sums exactly (they are
sums of counts), values within 4 times the epsilon of float32 (factor and quotient, each rounded
to float32, and the logarithm take less than 3). What is wrong is not timed. Then all candidates
take turns; times are those of CUDA events, the least of each counts, and `paired` is the median
of the rounds' own ratios.

    python3 bench/compare_cupy.py --library build/gpu/lib/libcsrnorm.so --json FILE

Exit codes: 0 measured, 1 a result of csrnorm was wrong or it failed, 77 no cupy or no device.
Where another candidate does, its row says so.
"""

import argparse
import ctypes
import json
import statistics
import sys
from pathlib import Path

import numpy as np

SKIPPED = 77

try:
    import cupy as cp
    import cupyx.scipy.sparse as sparse
except ImportError as error:
    print(f"=> cupy is missing: {error}")
    sys.exit(SKIPPED)
try:
    if cp.cuda.runtime.getDeviceCount() < 1:
        raise RuntimeError("no device")
except Exception as error:  # of several classes, by version
    print(f"=> cupy finds no device: {error}")
    sys.exit(SKIPPED)

F32, F64, I32 = 1, 2, 7
PER_ROW, PER_COLUMN = 0, 1
MEDIAN, FIXED = 0, 2
CUDA = 2
TARGET = 1e4


class Csr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("n_rows", "n_cols", "nnz")]
    _fields_ += [(name, ctypes.c_void_p) for name in ("indptr", "indices", "data")]
    _fields_ += [(name, ctypes.c_int) for name in ("indptr_type", "indices_type", "data_type")]


class NormalizeOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("axis", ctypes.c_int), ("target", ctypes.c_int), ("target_sum", ctypes.c_double),
                ("exclude_highly_expressed", ctypes.c_int32), ("log1p", ctypes.c_int32), ("max_fraction", ctypes.c_double),
                ("log_base", ctypes.c_double), ("excluded", ctypes.c_void_p)]


class ContextOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("backend", ctypes.c_int), ("device", ctypes.c_int32), ("threads", ctypes.c_int32),
                ("reserved", ctypes.c_int32), ("isa", ctypes.c_char_p), ("allocator", ctypes.c_void_p * 3)]


def pointer(array):
    return ctypes.c_void_p(array.data.ptr)


class Csrnorm:
    """The calls that are compared, on arrays of cupy; work goes to the default stream, as cupy's does."""

    def __init__(self, path):
        self.lib = lib = ctypes.CDLL(path)
        for name in ("csrn_error_detail", "csrn_build_info"):
            getattr(lib, name).restype = ctypes.c_char_p
        options = ContextOptions(size=ctypes.sizeof(ContextOptions), backend=CUDA)
        self.ctx = ctypes.c_void_p()
        self.call(lib.csrn_context_create, ctypes.byref(options), ctypes.byref(self.ctx))
        self.build = lib.csrn_build_info().decode()

    def call(self, function, *arguments):
        if function(*arguments):
            raise RuntimeError(self.lib.csrn_error_detail(self.ctx).decode())

    def synchronize(self):
        self.call(self.lib.csrn_context_synchronize, self.ctx)

    @staticmethod
    def view(matrix):
        n_rows, n_cols = matrix.shape
        return Csr(n_rows, n_cols, matrix.nnz, pointer(matrix.indptr), pointer(matrix.indices), pointer(matrix.data), I32, I32,
                   F32)

    def sums(self, matrix, axis, out):
        self.call(self.lib.csrn_axis_sum, self.ctx, ctypes.byref(self.view(matrix)), axis, pointer(out), F64)

    def normalize(self, matrix, target, log1p=False):
        options = NormalizeOptions(size=ctypes.sizeof(NormalizeOptions), axis=PER_ROW, target=FIXED if target else MEDIAN,
                                   target_sum=target or 0, log1p=log1p, max_fraction=0.05)
        self.call(self.lib.csrn_normalize_total, self.ctx, ctypes.byref(self.view(matrix)), ctypes.byref(options),
                  pointer(matrix.data), F32, None, None)


# ---- The matrix ----------------------------------------------------------------------------------------------------


def simulate(n_rows, n_cols, mean_length, seed):
    """Log-normal row lengths and counts; columns at even distances with an offset of each row's own."""
    rng = cp.random.default_rng(seed)
    share = cp.exp(0.45 * rng.standard_normal(n_rows))
    lengths = cp.clip(share / share.mean() * mean_length, 1, n_cols).astype(cp.int64)
    indptr = cp.zeros(n_rows + 1, cp.int64)
    indptr[1:] = cp.cumsum(lengths)
    nnz = int(indptr[-1])
    place = cp.arange(nnz, dtype=cp.int64)
    row = cp.searchsorted(indptr, place, side="right") - 1
    place -= indptr[row]
    indices = ((place * n_cols) // lengths[row]).astype(cp.int32)
    del place, row
    # Among so many random numbers there are zeros, whose logarithm would make the count infinite.
    data = cp.floor(1 - 1.2 * cp.log(cp.maximum(rng.random(nnz, dtype=cp.float32), cp.float32(1e-9))))
    matrix = sparse.csr_matrix((n_rows, n_cols), dtype=cp.float32)
    matrix.data, matrix.indices, matrix.indptr = data.astype(cp.float32), indices, indptr.astype(cp.int32)
    return matrix


# ---- The candidates ------------------------------------------------------------------------------------------------


def cupy_normalize(matrix, target, log1p=False):
    """As one writes it with cupy: sums, factors, a repeat over the rows, a division."""
    totals = matrix.sum(axis=1).ravel()
    factors = (totals / cp.float32(target or float(cp.median(totals[totals > 0])))).astype(cp.float32)
    factors[factors == 0] = 1
    row = cp.searchsorted(matrix.indptr, cp.arange(matrix.nnz, dtype=cp.int32), side="right") - 1
    matrix.data /= factors[row]
    if log1p:
        cp.log1p(matrix.data, out=matrix.data)


def rapids():
    """rapids-singlecell's functions, or why there are none."""
    try:
        import anndata
        import rapids_singlecell as rsc
    except ImportError as error:
        return None, f"rapids-singlecell is missing: {error}"

    def normalize(matrix, target, log1p=False):
        adata = anndata.AnnData(matrix)
        rsc.pp.normalize_total(adata, target_sum=target)
        if log1p:
            rsc.pp.log1p(adata)
        matrix.data = adata.X.data

    return normalize, f"rapids-singlecell {rsc.__version__}"


def tasks(lib, rsc_normalize, n_rows, n_cols):
    """name -> {candidate: function of the matrix}; the last line of a function is its result."""
    sums = {0: cp.empty(n_rows, cp.float64), 1: cp.empty(n_cols, cp.float64)}

    def csrnorm_sums(axis):
        def run(matrix):
            lib.sums(matrix, axis, sums[axis])
            return sums[axis]
        return run

    found = {"row_sums": {"csrnorm": csrnorm_sums(0), "cupy": lambda m: m.sum(axis=1).ravel()},
             "column_sums": {"csrnorm": csrnorm_sums(1), "cupy": lambda m: m.sum(axis=0).ravel()}}
    for name, target, log1p in (("normalize_fixed", TARGET, False), ("normalize_median", None, False),
                                ("normalize_fixed_log1p", TARGET, True), ("normalize_median_log1p", None, True)):
        found[name] = {"csrnorm": lambda m, t=target, l=log1p: lib.normalize(m, t, l),
                       "cupy": lambda m, t=target, l=log1p: cupy_normalize(m, t, l)}
        if rsc_normalize:
            found[name]["rapids_singlecell"] = lambda m, t=target, l=log1p: rsc_normalize(m, t, l)
    return found


# ---- What is right -------------------------------------------------------------------------------------------------


class Oracle:
    """The results by numpy in float64, some rows at a time; every row has counts."""

    chunk = 1 << 22
    tolerance = 4 * float(np.finfo(np.float32).eps)

    def __init__(self, matrix):
        self.indptr, indices, self.counts = (cp.asnumpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
        self.totals = np.add.reduceat(self.counts, self.indptr[:-1], dtype=np.float64)
        self.sums = {"row_sums": self.totals, "column_sums": np.bincount(indices, self.counts, matrix.shape[1])}

    def wrong(self, task, results):
        """Of {candidate: result} those that are wrong, and in how many places."""
        if task in self.sums:
            places = {name: np.count_nonzero(got.ravel() != self.sums[task]) for name, got in results.items()}
        else:
            places = self.wrong_values(task, results)
        return {name: f"wrong in {number} places" for name, number in places.items() if number}

    def wrong_values(self, task, results):
        places = dict.fromkeys(results, 0)
        factors = self.totals / (np.median(self.totals) if "median" in task else TARGET)
        first = 0
        while first < factors.size:
            last = max(first + 1, int(np.searchsorted(self.indptr, int(self.indptr[first]) + self.chunk, "right")) - 1)
            span = slice(self.indptr[first], self.indptr[last])
            expected = self.counts[span] / np.repeat(factors[first:last], np.diff(self.indptr[first:last + 1]))
            if "log1p" in task:
                np.log1p(expected, out=expected)
            for name, got in results.items():
                # Not "above": NaN is not right.
                right = np.abs(got[span] - expected) <= self.tolerance * expected
                places[name] += right.size - np.count_nonzero(right)
            first = last
        return places


# ---- Measuring -----------------------------------------------------------------------------------------------------


def run_once(function, matrix, counts):
    """Milliseconds by the device's clock, and the result; the values are restored before."""
    if matrix.data is not counts:
        matrix.data[...] = counts
    begin, end = cp.cuda.Event(), cp.cuda.Event()
    cp.cuda.Device().synchronize()
    begin.record()
    result = function(matrix)
    end.record()
    end.synchronize()
    return cp.cuda.get_elapsed_time(begin, end), matrix.data if result is None else result


def measure(name, candidates, matrix, counts, oracle, repetitions):
    """The rows of one task; candidates whose results are wrong have no time."""
    times, results, wrong = {candidate: [] for candidate in candidates}, {}, {}
    for candidate, function in candidates.items():
        try:
            results[candidate] = cp.asnumpy(run_once(function, matrix, counts)[1])
        except Exception as error:  # a candidate that fails must not end the comparison
            wrong[candidate] = f"{type(error).__name__}: {error}"
    wrong |= oracle.wrong(name, results)
    for _ in range(repetitions):
        for candidate, function in candidates.items():
            if candidate not in wrong:
                times[candidate].append(run_once(function, matrix, counts)[0])
    rows = []
    for candidate, samples in times.items():
        row = {"task": name, "candidate": candidate, "check": wrong.get(candidate, "ok"), "samples": len(samples)}
        if samples and times["csrnorm"]:
            ratios = [other / own for other, own in zip(samples, times["csrnorm"])]
            row |= {"min_ms": min(samples), "median_ms": statistics.median(samples),
                    "times_csrnorm": min(samples) / min(times["csrnorm"]), "paired": statistics.median(ratios)}
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "build/gpu/lib/libcsrnorm.so"
    parser.add_argument("--library", default=str(default), help="libcsrnorm.so (default: %(default)s)")
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=30_000)
    parser.add_argument("--row-length", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    arguments = parser.parse_args()

    lib = Csrnorm(arguments.library)
    rsc_normalize, rapids_state = rapids()
    matrix = simulate(arguments.cells, arguments.genes, arguments.row_length, 1)
    counts = matrix.data.copy()
    oracle = Oracle(matrix)
    rows = []
    for name, candidates in tasks(lib, rsc_normalize, *matrix.shape).items():
        rows += measure(name, candidates, matrix, counts, oracle, arguments.repetitions)
        lib.synchronize()
    for row in rows:
        print(f"{row['task']:24} {row['candidate']:18} {row.get('min_ms', float('nan')):10.3f} ms"
              f" {row.get('times_csrnorm', float('nan')):8.2f} x  {row['check']}")
    report = {"build": lib.build, "cupy": cp.__version__, "rapids": rapids_state, "n_rows": matrix.shape[0],
              "n_cols": matrix.shape[1], "nnz": int(matrix.nnz), "repetitions": arguments.repetitions, "results": rows}
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")
    print(f"=> {len(rows)} rows; cupy {cp.__version__}; {rapids_state}")
    return 1 if any(row["candidate"] == "csrnorm" and row["check"] != "ok" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
