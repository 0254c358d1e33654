"""In place means no memory of the size of the matrix: watched in Python's allocations and in those of the process."""

import ctypes
import tracemalloc
from operator import truediv

import numpy as np
import pytest
from conftest import dense, sparse

import csrnorm
from csrnorm import _core

ROWS, LENGTH = 2000, 1000
NNZ = ROWS * LENGTH
#: What an operation may take: arrays of rows and columns, blocks; a quarter of the smallest array of NNZ entries.
ALLOWED = NNZ


def matrix(dtype="float32"):
    rng = np.random.default_rng(5)
    indices = np.tile(np.arange(0, 2 * LENGTH, 2, dtype=np.int32), ROWS)
    indptr = np.arange(ROWS + 1, dtype=np.int32) * LENGTH
    return sparse.csr_matrix((rng.integers(1, 9, NNZ).astype(dtype), indices, indptr), shape=(ROWS, 2 * LENGTH))


OPERATIONS = {
    "normalize": lambda x: csrnorm.normalize(x),
    "normalize, fixed": lambda x: csrnorm.normalize(x, 1e4, log1p=True),
    "exclusion": lambda x: csrnorm.normalize(x, exclude_highly_expressed=True, max_fraction=0.004),
    "normalize_with": lambda x: _core.normalize_with(x, np.ones(x.shape[0]), 2.0),
    "log1p": lambda x: csrnorm.pp.log1p(x),
    "rows": lambda x: csrnorm.axis_sum(x, axis=1),
    "columns": lambda x: csrnorm.axis_sum(x, axis=0),
    "scale rows": lambda x: csrnorm.axis_mul_or_truediv(x, np.full(x.shape[0], 2, x.dtype), 0, truediv, out=x),
    "scale columns": lambda x: csrnorm.axis_mul_or_truediv(x, np.full(x.shape[1], 2, x.dtype), 1, truediv, out=x),
    "highly expressed": lambda x: csrnorm.highly_expressed_genes(x),
}


def traced_peak(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_measurement_sees_a_temporary():
    x = matrix()
    assert traced_peak(lambda: x.data * 2) >= 4 * NNZ


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layout", ["csr", "csc", "dense", "column-major"])
def test_python_allocates_nothing_of_its_size(operation, layout):
    x = matrix()
    if layout in ("dense", "column-major"):
        x = dense(x[:1000])
        x = np.asfortranarray(x) if layout == "column-major" else x
    elif layout == "csc":
        x = x.tocsc()
    csrnorm.normalize(sparse.csr_matrix((1, 1), dtype=np.float32))
    # A block of a dense array has values, results and columns.
    allowed = ALLOWED if sparse.issparse(x) else 3 * 4 * (1 << 18) + ALLOWED
    assert traced_peak(lambda: OPERATIONS[operation](x)) < allowed


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint64"])
def test_integers_take_the_result_alone(dtype):
    x = matrix(dtype)
    indices = x.indices.nbytes + x.indptr.nbytes
    # int64 as a view of uint64 is a copy while it lasts.
    extra = 8 * NNZ if dtype == "uint64" else 0
    assert traced_peak(lambda: csrnorm.normalize(x)) < 4 * NNZ + indices + extra + ALLOWED


@pytest.mark.parametrize(("dtype", "copies"), [("float32", 1), ("int32", 0), ("int64", 0)])
def test_counts_that_are_a_layer_too_are_copied_where_they_would_be_written(dtype, copies):
    anndata = pytest.importorskip("anndata")
    x = matrix(dtype)
    before = x.data[::1000].copy()
    adata = anndata.AnnData(x)
    adata.layers["counts"] = sparse.csr_matrix(x)  # scipy shares the buffers
    assert np.shares_memory(adata.X.data, adata.layers["counts"].data)
    result = 0 if copies else 4 * NNZ + x.indices.nbytes + x.indptr.nbytes
    peak = traced_peak(lambda: csrnorm.pp.normalize_total(adata))
    assert copies * x.data.nbytes <= peak < copies * x.data.nbytes + result + ALLOWED
    assert np.array_equal(adata.layers["counts"].data[::1000], before)


def resident(field):
    """VmRSS (now) or VmHWM (the highest since the last reset) in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def resident_growth(function):
    """By how much the memory of the process was higher at most than before."""
    ctypes.CDLL(None).malloc_trim(0)  # or what was freed before would be taken again, unseen
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
    before = resident("VmRSS")
    function()
    return resident("VmHWM") - before


@pytest.fixture(scope="module")
def warm():
    """The library's own scratch memory and threads are there, and the measurement works here."""
    try:
        resident_growth(lambda: None)
    except (OSError, AttributeError):
        pytest.skip("the highest memory of a process cannot be reset here")
    x = matrix()
    for operation in OPERATIONS.values():
        operation(x)


def test_the_growth_of_the_process_shows_a_temporary(warm):
    x = matrix()
    kept = []
    assert resident_growth(lambda: kept.append(x.data * 2)) >= 3 * NNZ


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_process_grows_by_nothing_of_its_size(warm, operation):
    x = matrix()
    assert resident_growth(lambda: OPERATIONS[operation](x)) < ALLOWED
