"""Arrays that are not as usual: indices that are none, sums beyond 64 bits, odd types and subclasses, odd arguments.

What would end the process or change other memory is refused, and what is not refused is computed as anything else.
"""

import os
import signal
import subprocess
import sys
from operator import mul, truediv

import numpy as np
import pytest
from conftest import bits, dense, simulated, sparse

import csrnorm
from csrnorm import _core, _dense, _library

USES_OF_INDICES = {
    "sums of columns": lambda x: csrnorm.axis_sum(x, axis=0),
    "highly expressed": lambda x: csrnorm.highly_expressed_genes(x),
    "exclusion": lambda x: csrnorm.normalize(x, exclude_highly_expressed=True),
    "totals without some genes": lambda x: _core.row_totals(x, np.arange(x.shape[1]) < 3),
    "scale columns": lambda x: csrnorm.axis_mul_or_truediv(x, np.ones(x.shape[1], x.dtype), 1, truediv),
    "scale columns of integers": lambda x: csrnorm.axis_mul_or_truediv(x.astype(int), np.arange(x.shape[1]), 1, mul),
    "CSC: sums of rows": lambda x: csrnorm.axis_sum(transposed(x), axis=1),
    "CSC: normalize": lambda x: csrnorm.normalize(transposed(x)),
    "CSC: normalize_with": lambda x: _core.normalize_with(transposed(x), np.ones(x.shape[1]), 1.0),
    "CSC: scale rows": lambda x: csrnorm.axis_mul_or_truediv(transposed(x), np.ones(x.shape[1], x.dtype), 0, mul),
    "CSC to CSR": lambda x: _core.csc_to_csr(transposed(x)),
    "check": lambda x: csrnorm.check(x),
}


def transposed(x):
    """The CSC matrix in the same arrays."""
    return sparse.csc_matrix((x.data, x.indices, x.indptr), shape=x.shape[::-1])


@pytest.mark.parametrize("index", [30, -1, 10**6, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("use", USES_OF_INDICES)
def test_an_index_that_is_none_is_refused(use, index):
    x = sparse.csr_matrix(np.ones((20, 30), np.float32))
    USES_OF_INDICES[use](x)
    x.indices[3] = index
    before = x.data.copy()
    with pytest.raises(csrnorm.InvalidMatrixError, match=rf"indices.* is {index}; expected 0 to"):
        USES_OF_INDICES[use](x)
    assert np.array_equal(x.data, before)


@pytest.mark.parametrize(
    "use",
    [
        lambda x: _core.normalize(x),
        lambda x: _core.normalize_with(x, np.ones(x.shape[0]), 2.0),
        lambda x: _core.log1p(x),
        lambda x: csrnorm.axis_mul_or_truediv(x, np.full(x.shape[0], 2.0), 0, truediv, out=x),
        lambda x: csrnorm.axis_mul_or_truediv(x, np.full(x.shape[1], 2.0), 1, mul, out=x),
    ],
)
def test_what_lies_before_the_first_row_and_behind_the_last_is_zero(use):
    """Where new values need an array of their own, none of it is memory that nobody has written."""
    x = simulated(20, 30)
    for _ in range(3):
        longer = sparse.csr_matrix(x.shape, dtype=np.float32)
        longer.data, longer.indices = (np.concatenate([a[:5], a, a[:7]]) for a in (x.data, x.indices))
        longer.indptr = x.indptr + np.int32(5)
        longer.data.flags.writeable = False
        freed = np.full(longer.data.size, 777, np.float32)
        del freed
        use(longer)
        expected = x.copy()
        use(expected)
        assert not longer.data[:5].any()
        assert not longer.data[-7:].any()
        assert np.array_equal(bits(longer.data[5:-7]), bits(expected.data))


def test_check_takes_what_is_a_matrix(to_layout):
    csrnorm.check(to_layout(simulated(20, 30)))
    x = simulated(20, 30)
    x.indptr[4] = x.nnz + 1
    with pytest.raises(csrnorm.InvalidMatrixError):
        csrnorm.check(x)
    with pytest.raises(TypeError):
        csrnorm.check([[1]])


def sums_or_overflow(x, axis, limits):
    """The sums by Python's integers; None where one, or one of a row on the way to the sum of all, does not fit."""
    exact = dense(x).astype(object).sum(axis=axis)
    if axis is None and sums_or_overflow(x, 1, limits) is None:
        return None
    return None if np.max(exact) > limits.max or np.min(exact) < limits.min else exact


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize(
    "rows",
    [
        [[2**62], [2**62], [2**62]],
        [[2**62, 2**62, -(2**62)], [2**62 - 1, 1, -1]],
        [[-(2**63), 0], [0, 5]],
        [[-(2**63), -1], [1, 5]],
        [[2**31, 7], [2**40, -3]],
    ],
)
def test_sums_of_int64_are_exact_or_refused(to_layout, rows, axis):
    x = to_layout(sparse.csr_matrix(np.array(rows, np.int64)))
    expected = sums_or_overflow(x, axis, np.iinfo(np.int64))
    if expected is None:
        with pytest.raises(csrnorm.SumOverflowError):
            csrnorm.axis_sum(x, axis=axis)
    else:
        assert np.array_equal(csrnorm.axis_sum(x, axis=axis).astype(object), expected)


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize(
    "rows", [[[2**63 + 1]], [[2**63 + 1, 2**63 + 1]], [[2**63 + 3, 5], [2**62, 2**40]], [[2**63 - 1, 9]]]
)
def test_sums_of_uint64_are_exact_or_refused(to_layout, rows, axis, monkeypatch):
    monkeypatch.setattr("csrnorm._dense.BLOCK", 2)
    x = to_layout(sparse.csr_matrix(np.array(rows, np.uint64)))
    expected = sums_or_overflow(x, axis, np.iinfo(np.uint64))
    if expected is None:
        with pytest.raises(csrnorm.SumOverflowError):
            csrnorm.axis_sum(x, axis=axis)
    else:
        found = csrnorm.axis_sum(x, axis=axis)
        assert found.dtype == np.uint64 and np.array_equal(found.astype(object), expected)


def test_uint64_is_read_without_a_copy():
    x = simulated(20, 30, dtype=np.uint64)
    data, fresh = csrnorm._arrays.readable(x.data)
    assert not fresh and data.dtype == np.int64 and np.shares_memory(data, x.data)
    before = x.data.copy()
    csrnorm.normalize(x)
    csrnorm.pp.log1p(x.copy())
    assert np.array_equal(x.data, before)


@pytest.mark.parametrize("how", ["normalize", "with", "log1p"])
def test_float64_of_the_other_byte_order_stays_float64(to_layout, how):
    x = to_layout(simulated(30, 40, dtype=np.float64))
    swapped = x.copy()
    if sparse.issparse(x):
        swapped.data = x.data.astype(">f8")
    else:
        swapped = x.astype(">f8")
    function = {
        "normalize": lambda x: csrnorm.normalize(x, 7.0, log1p=True).x,
        "with": lambda x: _core.normalize_with(x, np.full(30, 3.0), 7.0).x,
        "log1p": csrnorm.pp.log1p,
    }[how]
    found = function(swapped)
    assert found.dtype.itemsize == 8
    assert np.array_equal(bits(function(x)), bits(found.astype("=f8")))


@pytest.mark.parametrize("kind", ["own class", "column-major", "float16"])
def test_dense_in_place_returns_the_object_of_the_caller(kind, tmp_path):
    x = dense(simulated(20, 30))
    if kind == "own class":
        mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
        mapped[...] = x
        x = mapped
    else:
        x = np.asfortranarray(x) if kind == "column-major" else x.astype(np.float16)
    assert csrnorm.normalize(x).x is x
    assert csrnorm.normalize(x, exclude_highly_expressed=True, max_fraction=0.2).x is x
    assert csrnorm.axis_mul_or_truediv(x, np.ones(20, x.dtype), 0, mul, out=x) is x
    assert csrnorm.pp.log1p(x) is x


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("in_place", [False, True])
def test_integers_by_integers_with_room_behind_the_matrix(axis, layout, in_place):
    x = layout(simulated(20, 30, dtype=np.int32))
    factors = np.arange(x.shape[axis], dtype=np.int32)
    expected = dense(x) * (factors[:, None] if axis == 0 else factors)
    x.data, x.indices = np.r_[x.data, [7] * 5].astype(np.int32), np.r_[x.indices, [10**6] * 5].astype(np.int32)
    found = csrnorm.axis_mul_or_truediv(x, factors, axis, mul, out=x if in_place else None)
    assert found.data.size == found.indices.size or not in_place
    assert np.array_equal(dense(found), expected)


def test_truth_of_any_kind_is_taken():
    x = simulated(20, 30)
    expected = csrnorm.normalize(x, exclude_highly_expressed=True, max_fraction=0.2, log1p=True, copy=True)
    found = csrnorm.normalize(x, exclude_highly_expressed=np.True_, max_fraction=0.2, log1p=np.True_, copy=True)
    assert np.array_equal(bits(found.x), bits(expected.x)) and np.array_equal(found.excluded, expected.excluded)


def test_one_thread_may_be_nested():
    before = csrnorm.get_num_threads()
    with _library.one_thread():
        with _library.one_thread():
            assert csrnorm.get_num_threads() == 1
        assert csrnorm.get_num_threads() == 1
    assert csrnorm.get_num_threads() == before


def test_the_number_of_threads_is_that_of_openmp_now():
    set_max_threads = getattr(_library.lib._cdll, "omp_set_num_threads", None)
    if set_max_threads is None:
        pytest.skip("the library was built without OpenMP")
    before = csrnorm.get_num_threads()
    try:
        for threads in (1, 3, 2):  # as threadpoolctl does it
            set_max_threads(threads)
            assert csrnorm.get_num_threads() == threads
            assert _library.context() == _library.context()
    finally:
        set_max_threads(before)
    assert csrnorm.get_num_threads() == before
    assert len(_library._local.contexts) <= 2, "contexts of other numbers are of no further use"


@pytest.mark.parametrize(
    "threads, error", [(2**40, ValueError), (2**31, ValueError), (1.7, TypeError), ("2", TypeError)]
)
def test_numbers_of_threads_that_are_none(threads, error):
    try:
        with pytest.raises(error):
            csrnorm.set_num_threads(threads)
    finally:
        csrnorm.set_num_threads(None)


def test_arguments_that_mean_nothing_are_refused():
    with pytest.raises(ValueError):
        csrnorm.axis_sum(simulated(20, 30), axis=(0, 0))
    with pytest.raises(TypeError):
        csrnorm.median_positive(np.ma.masked_equal([1, 5, 9], 9))
    with pytest.raises(TypeError):
        csrnorm.median_positive(np.array([1 + 2j]))


def test_totals_on_a_device_wait_for_its_errors(monkeypatch):
    """With arrays on a device an error is said by csrn_context_synchronize() alone."""
    from types import SimpleNamespace

    from csrnorm import _cuda, _dask

    def synchronize(handle):
        raise csrnorm.InvalidMatrixError("indptr[1] is 9")

    view = SimpleNamespace(
        csr=_library.Csr(), per=lambda axis: 0, handle=5, empty=lambda *_: SimpleNamespace(get=lambda: np.zeros(1)),
        data=SimpleNamespace(address=0, dtype=np.dtype("f4")),
    )  # fmt: skip
    monkeypatch.setattr(_cuda, "DeviceView", lambda x, written, **_: view)
    monkeypatch.setattr(_cuda, "_DeviceArray", lambda *_: SimpleNamespace(address=0))
    monkeypatch.setattr(_cuda, "call", lambda *_, **__: None)
    monkeypatch.setattr(_cuda, "is_device", lambda x: True)
    monkeypatch.setattr(_library.lib, "context_synchronize", synchronize)
    block = SimpleNamespace(shape=(1, 2))
    block.copy = lambda: block
    csrnorm.get_num_threads()  # a context of this thread
    for work in (
        lambda: _dask._row_totals(block),
        lambda: _dask._normalized(block, 3.0, False, None),
        lambda: _dask._logarithm(block, None, None),
    ):
        with pytest.raises(csrnorm.InvalidMatrixError, match="indptr"):
            work()


# ---- Totals beyond 64 bits -----------------------------------------------------------------------------------------

#: Totals beyond 2**63 and far below; that of the third cell also without the genes that are excluded below.
LARGE = [
    [2**62, 2**62, 5, 0], [1, 1, 1, 1], [2**62 + 3, 2**61, 2**62 + 7, 2**62 + 2**61], [0, 0, 0, 0], [2**53, 1, 0, 1]
]  # fmt: skip


def normalized_exactly(target_sum=None, exclude_highly_expressed=False, max_fraction=0.05, log1p=False):
    """LARGE by Python's integers: (values, factors, excluded)."""
    keep = [True] * 4
    if exclude_highly_expressed:
        keep = [all(not row[j] > max_fraction * float(sum(row)) for row in LARGE) for j in range(4)]
    totals = np.array([float(sum(x for x, kept in zip(row, keep) if kept)) for row in LARGE])
    positive = totals[totals > 0]
    target = {None: np.median, "mean": _core.mean_positive}.get(target_sum, lambda _: target_sum)(positive)
    factors = totals.astype(np.float32) / np.float32(target)
    divisors = np.where(factors == 0, np.float32(1), factors)
    values = np.array(LARGE, np.int64).astype(np.float32) / divisors[:, None]
    return csrnorm.pp.log1p(values) if log1p else values, factors, ~np.array(keep)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, ">i8"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"target_sum": 7}, {"target_sum": "mean"}, {"log1p": True},
        {"exclude_highly_expressed": True, "max_fraction": 0.3},
        {"exclude_highly_expressed": True, "max_fraction": 0.45, "target_sum": 3},
    ],
)  # fmt: skip
def test_totals_beyond_64_bits_are_exact_too(to_layout, dtype, options):
    x = to_layout(sparse.csr_matrix(np.array(LARGE, np.int64)))
    if sparse.issparse(x):
        x.data = x.data.astype(dtype)
    else:
        x = x.astype(dtype)
    before = dense(x).copy()
    found = csrnorm.normalize(x, **options)
    values, factors, excluded = normalized_exactly(**options)
    assert np.array_equal(bits(found.factors), bits(factors))
    assert np.array_equal(bits(found.x), bits(values))
    if "exclude_highly_expressed" in options:
        assert np.array_equal(found.excluded, excluded) and excluded.any() and not excluded.all()
    assert np.array_equal(dense(x), before)


# ---- Threads, contexts, the library --------------------------------------------------------------------------------


def in_a_process(code, **variables):
    """What a process of its own prints."""
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **threads, **variables}, capture_output=True, text=True
    )  # fmt: skip
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_threads_are_used_where_they_pay():
    """A matrix that one thread goes through sooner than others wake up wakes none, unless they were asked for."""
    code = """
import os, numpy as np, csrnorm
def threads():
    return len(os.listdir("/proc/self/task"))
few, many = np.ones((100, 2000), np.float32), np.ones((200, 2000), np.float32)
before = threads()
csrnorm.normalize(few)
small = threads() - before
if os.environ["ASKED"] == "yes":
    csrnorm.set_num_threads(4)
    csrnorm.normalize(few)
else:
    csrnorm.normalize(many)
print(small, threads() - before)
"""
    assert in_a_process(code, ASKED="no") == "0 3"
    assert in_a_process(code, ASKED="yes") == "0 3"


def test_contexts_are_kept(monkeypatch):
    """Those of a GPU whatever becomes of the number of threads, since work may be under way in them; those of the CPU
    for as long as their number of threads is asked for."""
    made = []

    class Context:
        def __init__(self, threads, device, backend):
            made.append((threads, device, backend))
            self.handle = len(made)

    monkeypatch.setattr(_library, "_Context", Context)
    monkeypatch.setattr(_library, "_local", _library.threading.local())
    cuda = _library.Backend.BACKEND_CUDA
    handle = _library.context(1, cuda)
    try:
        for _ in range(2):
            for threads in (3, 5):
                csrnorm.set_num_threads(threads)
                own = _library.context()
                with _library.one_thread():
                    assert _library.context() != own and _library.context(1, cuda) == handle
                assert _library.context() == own, "made again for the next call"
        assert made.count((0, 1, cuda)) == 1 and made.count((1, 0, _library.Backend.BACKEND_CPU)) == 1
        assert {key[0] for key in _library._local.contexts} == {0, 1, 5}
    finally:
        csrnorm.set_num_threads(None)


def test_a_library_named_without_its_folder():
    path = _library.lib.path
    code = f"import os; os.chdir({str(path.parent)!r}); import csrnorm; print(csrnorm._library.lib.path)"
    assert in_a_process(code, CSRNORM_LIBRARY=path.name) == str(path.resolve())


def test_what_is_not_the_library_is_an_import_error(tmp_path):
    (tmp_path / "text").write_text("no library")
    other = next(line.split()[-1] for line in open("/proc/self/maps") if "libc.so" in line)
    for name, why in ((tmp_path / "text", "invalid ELF header|file too short"), (other, "csrn_")):
        said = in_a_process("import csrnorm", CSRNORM_LIBRARY=str(name))
        assert said.startswith("ImportError: ") and "is not the library of this csrnorm" in said
        assert any(word in said for word in why.split("|")), said


@pytest.mark.parametrize("base", ["2", [2], 1j, b"e"])
def test_a_base_that_is_no_number_is_refused(base):
    x = simulated(20, 30)
    before = x.data.copy()
    for function in (
        lambda: csrnorm.pp.log1p(x, base=base),
        lambda: csrnorm.normalize(x, log1p=True, base=base),
    ):
        with pytest.raises(TypeError, match="base is"):
            function()
    assert np.array_equal(x.data, before)


def test_read_only_and_empty_arrays_have_addresses():
    x = simulated(20, 30)
    expected = csrnorm.axis_sum(x, axis=1)
    for array in (x.data, x.indices, x.indptr):
        array.flags.writeable = False
    assert np.array_equal(csrnorm.axis_sum(x, axis=1), expected)
    for array in (x.data, np.empty(0), np.ones((2, 3), order="F")[:, :1], np.ones(3)[1:]):
        assert csrnorm._arrays.address(array) == array.ctypes.data


def test_types_of_values_of_another_package_are_refused():
    class Tensor:
        dtype, shape, ndim = "of another package", (3, 3), 2

    with pytest.raises(TypeError, match="expected a CSR or CSC matrix or an array"):
        csrnorm.normalize(Tensor())


def test_as_many_columns_as_no_machine_has_room_for_are_refused():
    for power in (44, 57, 60, 61, 62):
        x = sparse.csc_matrix((np.float32([1, 2, 3]), [0, 1, 1], [0, 1, 2, 3]), shape=(2**power, 3))
        with pytest.raises(MemoryError, match="n_cols"):
            csrnorm.highly_expressed_genes(x, 0.5)


@pytest.mark.parametrize("order", ["F", "strided"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (0, 3, 2), (3, 0, 2), (5,)])
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "f2"])
def test_log1p_of_any_number_of_dimensions_and_order(order, shape, copy, dtype):
    counts = (np.arange(np.prod(shape)) % 11).reshape(shape).astype(dtype)
    x = np.asfortranarray(counts) if order == "F" else np.repeat(counts, 2, axis=0)[::2]
    expected = csrnorm.pp.log1p(counts.copy())
    x = x.copy(order="K") if x is counts else x
    found = csrnorm.pp.log1p(x, copy=copy)
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    assert (found is x) == (not copy and dtype != "i4")
    assert found is x or np.array_equal(x, counts)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "int64", ">f4"])
def test_a_copy_of_a_dense_array_has_its_order(order, dtype):
    x = np.array(simulated(20, 30).toarray(), dtype=dtype, order=order)
    for found in (csrnorm.normalize(x, 5.0, copy=True).x, csrnorm.pp.log1p(x, copy=True)):
        assert found.flags[f"{order}_CONTIGUOUS"] and found.dtype.isnative and type(found) is np.ndarray


@pytest.mark.parametrize("operation", ["normalize", "median", "log1p", "scale"])
def test_an_interrupt_leaves_no_array_half_done(operation, monkeypatch):
    x = np.asfortranarray(np.ones((2000, 1000), dtype=np.float32) * 3)
    x[:, 0] = np.arange(2000) % 5
    operations = {
        "normalize": lambda x: csrnorm.normalize(x, 100.0).x,
        "median": lambda x: csrnorm.normalize(x).x,
        "log1p": lambda x: csrnorm.pp.log1p(x),
        "scale": lambda x: csrnorm.axis_mul_or_truediv(x, np.full(2000, 2, np.float32), 0, mul, out=x),
    }
    expected = operations[operation](x.copy(order="F"))
    calls, real = [], _dense.call

    def call_and_interrupt(*arguments):
        real(*arguments)
        calls.append(arguments)
        if len(calls) == (11 if operation == "median" else 3):  # after the eight blocks of sums, and the target
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_dense, "call", call_and_interrupt)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        operations[operation](x)
    assert signal.getsignal(signal.SIGINT) is handler
    assert np.array_equal(bits(x), bits(expected))
