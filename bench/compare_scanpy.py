#!/usr/bin/env python3
"""csrnorm beside scanpy and scipy: one process, the same arrays, the same threads.

A matrix of realistic counts is made in memory. Each candidate works in place on a copy
of its values; the copy is made outside the timed region. Every result is compared
before anything is timed: normalization bit for bit with scanpy's, logarithms within one
unit in the last place of the true value, sums with exact ones. Then all candidates take
turns, and the least time of each counts; `paired` is the median of the rounds' own
ratios. scanpy's functions are compiled before.

scanpy 1.11.5 takes the median over all cells; it is patched here to the median of the
positive totals, which is what later versions and csrnorm do.

    python3 bench/compare_scanpy.py --library build/release/lib/libcsrnorm.so --threads 2
"""

import argparse
import ctypes
import datetime
import json
import os
import platform
import sys
import time
import types
import warnings
from pathlib import Path


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "build/release/lib/libcsrnorm.so"
    parser.add_argument("--library", default=str(default), help="libcsrnorm.so (default: %(default)s)")
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=30_000)
    parser.add_argument("--nnz", type=int, help="stored values (default: 1,500 a row)")
    parser.add_argument("--row-length", type=int, help="mean number of values in a row")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    arguments = parser.parse_args()
    if arguments.nnz and arguments.row_length:
        parser.error("only one of --nnz and --row-length can be given")
    if min(arguments.cells, arguments.genes, arguments.threads, arguments.repetitions) < 1:
        parser.error("--cells, --genes, --threads and --repetitions must be positive")
    length = arguments.row_length or min(1500, max(1, arguments.genes // 20))
    arguments.nnz = arguments.nnz or arguments.cells * length
    if arguments.nnz > arguments.cells * arguments.genes:
        parser.error("the matrix has fewer places than values")
    return arguments


ARGUMENTS = parse_arguments()
# Before numpy, numba and libgomp start their threads.
for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = str(ARGUMENTS.threads)
os.environ.pop("CSRNORM_ISA", None)
LOAD_AVERAGE = os.getloadavg()[0]  # what other programs take, before this one adds to it

import numba  # noqa: E402
import numpy as np  # noqa: E402
import scanpy as sc  # noqa: E402
import scanpy.preprocessing._normalization as scanpy_normalization  # noqa: E402
import scipy  # noqa: E402
import scipy.sparse as sp  # noqa: E402
from anndata import AnnData  # noqa: E402
from simulated_counts import processor, share_arrays, simulate  # noqa: E402

# ---- The library -------------------------------------------------------------

F32, F64, I32 = 1, 2, 7
PER_ROW, PER_COLUMN = 0, 1
TARGET_MEDIAN = 0


class Csr(ctypes.Structure):
    _fields_ = [
        ("n_rows", ctypes.c_int64),
        ("n_cols", ctypes.c_int64),
        ("nnz", ctypes.c_int64),
        ("indptr", ctypes.c_void_p),
        ("indices", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("indptr_type", ctypes.c_int),
        ("indices_type", ctypes.c_int),
        ("data_type", ctypes.c_int),
    ]


class NormalizeOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("axis", ctypes.c_int),
        ("target", ctypes.c_int),
        ("target_sum", ctypes.c_double),
        ("exclude_highly_expressed", ctypes.c_int32),
        ("log1p", ctypes.c_int32),
        ("max_fraction", ctypes.c_double),
        ("log_base", ctypes.c_double),
        ("excluded", ctypes.c_void_p),
    ]


class ContextOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("backend", ctypes.c_int),
        ("device", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("isa", ctypes.c_char_p),
        ("allocator", ctypes.c_void_p * 3),
    ]


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


class Csrnorm:
    """The calls that are compared, on the arrays of a scipy matrix."""

    def __init__(self, path, threads):
        self.lib = lib = ctypes.CDLL(path)
        for name in ("csrn_error_detail", "csrn_context_isa", "csrn_build_info"):
            getattr(lib, name).restype = ctypes.c_char_p
        options = ContextOptions(size=ctypes.sizeof(ContextOptions), backend=1, threads=threads)
        self.ctx = ctypes.c_void_p()
        self.call(lib.csrn_context_create, ctypes.byref(options), ctypes.byref(self.ctx))
        self.isa = lib.csrn_context_isa(self.ctx).decode()
        self.build = lib.csrn_build_info().decode()

    def call(self, function, *arguments):
        if function(*arguments):
            raise RuntimeError(self.lib.csrn_error_detail(self.ctx).decode())

    @staticmethod
    def view(matrix):
        n_rows, n_cols = matrix.shape
        assert matrix.indptr.dtype == matrix.indices.dtype == np.int32 and matrix.data.dtype == np.float32
        return Csr(n_rows, n_cols, matrix.nnz, pointer(matrix.indptr), pointer(matrix.indices),
                   pointer(matrix.data), I32, I32, F32)

    def normalize(self, matrix, log1p=False, exclude=False):
        options = NormalizeOptions(size=ctypes.sizeof(NormalizeOptions), axis=PER_ROW, target=TARGET_MEDIAN,
                                   exclude_highly_expressed=exclude, log1p=log1p, max_fraction=0.05)
        self.call(self.lib.csrn_normalize_total, self.ctx, ctypes.byref(self.view(matrix)),
                  ctypes.byref(options), pointer(matrix.data), F32, None, None)

    def log1p(self, matrix):
        self.call(self.lib.csrn_log1p, self.ctx, ctypes.byref(self.view(matrix)), ctypes.c_double(0),
                  pointer(matrix.data), F32)

    def sums(self, matrix, axis):
        sums = np.empty(matrix.shape[axis], np.float64)
        self.call(self.lib.csrn_axis_sum, self.ctx, ctypes.byref(self.view(matrix)), axis, pointer(sums), F64)
        return sums


# ---- scanpy ------------------------------------------------------------------


def patch_scanpy_median():
    """The median of the positive totals; only the helper's own view of numpy is replaced."""

    class Numpy:
        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def median(values):
            return np.median(values[values > 0])

    helper = scanpy_normalization._normalize_total_helper
    patched = types.FunctionType(helper.__code__, {**vars(scanpy_normalization), "np": Numpy()},
                                 helper.__name__, helper.__defaults__, helper.__closure__)
    patched.__kwdefaults__ = helper.__kwdefaults__
    scanpy_normalization._normalize_total_helper = patched


# ---- Comparing and timing ----------------------------------------------------


class Comparison:
    def __init__(self, matrix, csrnorm):
        self.matrix, self.csrnorm = matrix, csrnorm
        self.work = np.empty_like(matrix.data)

    def fresh(self, _=None):
        np.copyto(self.work, self.matrix.data)
        return share_arrays(self.matrix, self.work)

    def fresh_anndata(self):
        return AnnData(self.fresh())

    def candidates(self):
        """name -> (what to time, how to prepare its argument)."""
        lib, keep = self.csrnorm, lambda: self.matrix

        def scanpy_both(adata):
            sc.pp.normalize_total(adata)
            sc.pp.log1p(adata)

        def csrnorm_both(matrix):
            lib.normalize(matrix)
            lib.log1p(matrix)

        return {
            "scanpy normalize_total + log1p": (scanpy_both, self.fresh_anndata),
            "csrnorm normalize with log1p, fused": (lambda m: lib.normalize(m, log1p=True), self.fresh),
            "csrnorm normalize, then log1p": (csrnorm_both, self.fresh),
            "scanpy normalize_total": (sc.pp.normalize_total, self.fresh_anndata),
            "csrnorm normalize": (lib.normalize, self.fresh),
            "scanpy normalize_total, excluding": (
                lambda a: sc.pp.normalize_total(a, exclude_highly_expressed=True), self.fresh_anndata),
            "csrnorm normalize, excluding": (lambda m: lib.normalize(m, exclude=True), self.fresh),
            "scipy X.sum(0)": (lambda m: m.sum(0), keep),
            "csrnorm column sums": (lambda m: lib.sums(m, PER_COLUMN), keep),
            "scipy X.sum(1)": (lambda m: m.sum(1), keep),
            "csrnorm row sums": (lambda m: lib.sums(m, PER_ROW), keep),
        }

    # scanpy or scipy -> those of csrnorm that do the same
    PAIRS = (
        ("scanpy normalize_total + log1p", "csrnorm normalize with log1p, fused"),
        ("scanpy normalize_total + log1p", "csrnorm normalize, then log1p"),
        ("scanpy normalize_total", "csrnorm normalize"),
        ("scanpy normalize_total, excluding", "csrnorm normalize, excluding"),
        ("scipy X.sum(0)", "csrnorm column sums"),
        ("scipy X.sum(1)", "csrnorm row sums"),
    )

    def check(self):
        """Raises AssertionError if any result is wrong. Returns what else is worth knowing."""
        normalized = {}
        for exclude in (False, True):
            adata = self.fresh_anndata()
            sc.pp.normalize_total(adata, exclude_highly_expressed=exclude)
            theirs = adata.X.data.copy()
            ours = self.fresh()
            self.csrnorm.normalize(ours, exclude=exclude)
            differ = np.count_nonzero(theirs.view(np.uint32) != ours.data.view(np.uint32))
            assert differ == 0, f"normalize (exclude={exclude}): {differ} of {theirs.size} values differ from scanpy's"
            normalized[exclude] = theirs
        fused = self.fresh()
        self.csrnorm.normalize(fused, log1p=True)
        one_ulp_off = self.check_log1p(normalized[False], fused.data)
        fused_bits = fused.data.copy()
        twice = self.fresh()
        self.csrnorm.normalize(twice)
        self.csrnorm.log1p(twice)
        assert np.array_equal(fused_bits.view(np.uint32), twice.data.view(np.uint32)), "fused and two calls differ"
        self.check_sums()
        return {"log1p_not_correctly_rounded": one_ulp_off}

    @staticmethod
    def check_log1p(before, after, chunk=4_000_000):
        off = 0
        for first in range(0, before.size, chunk):
            exact = np.log1p(before[first:first + chunk].astype(np.float64))
            got = after[first:first + chunk].astype(np.float64)
            nearest = exact.astype(np.float32)
            assert (np.abs(got - exact) <= np.abs(np.spacing(nearest)).astype(np.float64)).all(), "log1p: above 1 ulp"
            off += int(np.count_nonzero(got != nearest))
        return off / max(before.size, 1)

    def check_sums(self):
        matrix = self.matrix
        columns = np.bincount(matrix.indices, matrix.data, matrix.shape[1])
        rows = np.add.reduceat(np.append(matrix.data, 0).astype(np.float64), matrix.indptr[:-1])
        rows[np.diff(matrix.indptr) == 0] = 0
        for axis, exact in ((PER_COLUMN, columns), (PER_ROW, rows)):
            assert np.array_equal(self.csrnorm.sums(matrix, axis), exact), f"sums of axis {axis} are not exact"
            theirs = np.asarray(matrix.sum(1 - axis), np.float64).ravel()
            assert np.allclose(theirs, exact, rtol=1e-3), f"scipy's sums of axis {axis} are off by more than 0.1 %"

    def measure(self, repetitions):
        candidates = self.candidates()
        seconds = {name: [] for name in candidates}
        for repetition in range(repetitions + 1):  # the first one warms up
            for name, (function, prepare) in candidates.items():
                argument = prepare()
                begin = time.perf_counter()
                function(argument)
                elapsed = time.perf_counter() - begin
                del argument
                if repetition:
                    seconds[name].append(elapsed)
        return seconds


def compile_scanpy():
    """What the first call costs, on a tiny matrix: nearly all of it is compilation."""
    adata = AnnData(sp.random(100, 50, 0.2, "csr", np.float32, random_state=1))
    begin = time.perf_counter()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    first = time.perf_counter() - begin
    sc.pp.normalize_total(adata, exclude_highly_expressed=True)
    return first


def describe(matrix, csrnorm, arguments):
    lengths = np.diff(matrix.indptr)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "csrnorm": csrnorm.build,
        "isa": csrnorm.isa,
        "threads": arguments.threads,
        "numba_threads": numba.get_num_threads(),
        "versions": {"python": platform.python_version(), "scanpy": sc.__version__, "scipy": scipy.__version__,
                     "numpy": np.__version__, "numba": numba.__version__},
        "cpu": processor(),
        "cells": matrix.shape[0],
        "genes": matrix.shape[1],
        "nnz": int(matrix.nnz),
        "data_type": str(matrix.data.dtype),
        "row_length": [int(lengths.min()), int(np.median(lengths)), int(lengths.max())],
        "counts_below_32": float(np.count_nonzero(matrix.data < 32) / max(matrix.nnz, 1)),
        "repetitions": arguments.repetitions,
        "seed": arguments.seed,
        "load_average": LOAD_AVERAGE,
    }


def main():
    warnings.simplefilter("ignore")
    arguments = ARGUMENTS
    if arguments.nnz > np.iinfo(np.int32).max:
        sys.exit("compare_scanpy.py: --nnz must fit 32 bits, since scipy's indptr and indices have one type")
    patch_scanpy_median()
    numba.set_num_threads(arguments.threads)
    csrnorm = Csrnorm(arguments.library, arguments.threads)
    first_call = compile_scanpy()
    matrix = simulate(arguments.cells, arguments.genes, arguments.nnz, arguments.seed)
    comparison = Comparison(matrix, csrnorm)
    try:
        facts = comparison.check()
    except AssertionError as error:
        sys.exit(f"compare_scanpy.py: wrong result, nothing timed: {error}")
    seconds = comparison.measure(arguments.repetitions)
    report = {"environment": describe(matrix, csrnorm, arguments), "scanpy_first_call_seconds": first_call, **facts,
              "results": [{"name": name, "min_seconds": min(times), "median_seconds": float(np.median(times)),
                           "billion_values_per_s": matrix.nnz / min(times) * 1e-9} for name, times in seconds.items()],
              "ratios": [{"peer": peer, "csrnorm": ours, "ratio": min(seconds[peer]) / min(seconds[ours]),
                          "paired": float(np.median(np.divide(seconds[peer], seconds[ours])))}
                         for peer, ours in Comparison.PAIRS]}
    print_report(report)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")


def print_report(report):
    environment = report["environment"]
    for key, value in environment.items():
        print(f"{key}: {value}")
    print(f"scanpy's first call (compiling, or loading what was compiled before): "
          f"{report['scanpy_first_call_seconds']:.2f} s\n")
    print(f"{'':38} {'min ms':>9} {'median ms':>9} {'10^9 values/s':>13}")
    for row in report["results"]:
        print(f"{row['name']:38} {1e3 * row['min_seconds']:9.1f} {1e3 * row['median_seconds']:9.1f}"
              f" {row['billion_values_per_s']:13.3f}")
    print(f"\n{'peer':38} {'csrnorm':38} {'ratio':>6} {'paired':>6}")
    for row in report["ratios"]:
        print(f"{row['peer']:38} {row['csrnorm']:38} {row['ratio']:6.2f} {row['paired']:6.2f}")


if __name__ == "__main__":
    main()
