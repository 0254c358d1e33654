"""The functions on arrays: every type, every layout, in place where that was promised, or refused."""

from operator import mul, truediv

import numpy as np
import pytest
from conftest import bits, dense, simulated, sparse

import csrnorm
from csrnorm import _arrays, _core

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SPARSE_TYPES = [*INTEGERS, "bool", "float32", "float64"]


def small_counts(dtype="float32", n_cells=40, n_genes=30):
    """Counts that every type holds."""
    x = simulated(n_cells, n_genes)
    x.data = np.minimum(x.data, 1 if dtype == "bool" else 100)
    return x.astype(dtype)


def normalized(x, target):
    """What the contract says, in numpy: one division for the factor, one for the value, both in the result's type."""
    kind = np.float64 if x.dtype == np.float64 else np.float32
    totals = dense(x).astype(np.float64).sum(1)
    factors = totals.astype(kind) / kind(target)
    return (dense(x).astype(kind) / np.where(factors == 0, kind(1), factors)[:, None]), factors


@pytest.mark.parametrize("dtype", SPARSE_TYPES)
@pytest.mark.parametrize("target", [None, 1e4])
def test_normalize_takes_every_type(to_layout, dtype, target):
    x = to_layout(small_counts(dtype))
    before = x.copy()
    totals = dense(x).astype(np.float64).sum(1)
    expected, factors = normalized(x, np.median(totals[totals > 0]) if target is None else target)
    result = csrnorm.normalize(x, target)
    assert type(result.x) is type(x)
    assert result.x.dtype == expected.dtype and result.factors.dtype == expected.dtype
    assert np.array_equal(bits(result.x), bits(expected))
    assert np.array_equal(result.factors, factors)
    if dtype not in ("float32", "float64"):
        assert np.array_equal(dense(x), dense(before)), "integers of the caller were changed"
    copied = csrnorm.normalize(before, target, copy=True)
    assert np.array_equal(bits(copied.x), bits(expected))


def test_float16_is_computed_in_float32():
    x = dense(small_counts("float32")).astype(np.float16)
    expected, factors = normalized(x, 50)
    result = csrnorm.normalize(x, 50)
    assert result.x is x or np.shares_memory(result.x, x)
    assert result.x.dtype == np.float16
    assert np.array_equal(bits(result.x), bits(expected.astype(np.float16)))
    assert np.array_equal(result.factors, factors.astype(np.float16))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", ["normalize", "with", "log1p", "exclusion", "scale"])
def test_in_place_means_the_buffers_of_the_caller(to_layout, dtype, how):
    x = to_layout(small_counts(dtype))
    data = x.data if sparse.issparse(x) else x
    arrays = [data] + ([x.indices, x.indptr] if sparse.issparse(x) else [])
    places = [_arrays.address(a) for a in arrays]
    before = dense(x).copy()
    if how == "normalize":
        result = csrnorm.normalize(x).x
    elif how == "exclusion":
        result = csrnorm.normalize(x, 10, exclude_highly_expressed=True).x
    elif how == "with":
        result = _core.normalize_with(x, np.full(x.shape[0], 7.0), 3.0).x
    elif how == "scale":
        result = csrnorm.axis_mul_or_truediv(x, np.full(x.shape[0], 3, dtype), 0, truediv, out=x)
    else:
        result = csrnorm.pp.log1p(x)
    if sparse.issparse(x):
        assert result is x
        assert [_arrays.address(a) for a in (x.data, x.indices, x.indptr)] == places
    else:
        assert _arrays.address(result) == places[0]
    assert not np.array_equal(dense(x), before)


@pytest.mark.parametrize("kind", ["read-only", "strided", "byte-swapped", "long indices"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
def test_unusual_sparse_buffers(layout, kind):
    x = layout(small_counts())
    expected = csrnorm.normalize(x.copy(), 100).x
    if kind == "read-only":
        x.data.flags.writeable = False
    elif kind == "strided":
        x.data = np.repeat(x.data, 2)[::2]
    elif kind == "byte-swapped":
        x.data = x.data.astype(">f4")
    else:
        x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    old, before = x.data, x.data.copy()
    result = csrnorm.normalize(x, 100).x
    assert result is x
    assert np.array_equal(bits(result), bits(expected))
    if kind != "long indices":
        assert np.array_equal(old, before), "a buffer that is not worked on in place was changed"


@pytest.mark.parametrize("kind", ["strided", "byte-swapped", "column-major", "transposed"])
@pytest.mark.parametrize("exclude", [False, True])
def test_unusual_dense_buffers(kind, exclude, monkeypatch):
    monkeypatch.setattr("csrnorm._dense.BLOCK", 100)  # many blocks
    plain = dense(small_counts())
    options = {"exclude_highly_expressed": exclude, "max_fraction": 0.2}
    expected = csrnorm.normalize(plain.copy(), **options)
    x = {
        "strided": lambda: np.repeat(plain, 2, axis=1)[:, ::2],
        "byte-swapped": lambda: plain.astype(">f4"),
        "column-major": lambda: np.asfortranarray(plain),
        "transposed": lambda: np.ascontiguousarray(plain.T).T,
    }[kind]()
    result = csrnorm.normalize(x, **options)
    assert np.shares_memory(result.x, x)
    assert np.array_equal(x, expected.x) and result.target == expected.target
    assert np.array_equal(bits(result.factors), bits(expected.factors))
    if exclude:
        assert result.excluded.any() and np.array_equal(result.excluded, expected.excluded)


def test_read_only_dense_is_refused():
    x = dense(small_counts())
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        csrnorm.normalize(x)
    assert csrnorm.normalize(x, copy=True).x.flags.writeable


@pytest.mark.parametrize(
    "x", [np.ones((2, 2), complex), np.ones((2, 2), np.longdouble), np.ones((2, 2), object)], ids=lambda x: x.dtype.name
)
def test_what_are_no_numbers_is_refused(x):
    for function in (csrnorm.normalize, csrnorm.pp.log1p, lambda x: csrnorm.axis_sum(x, axis=1)):
        with pytest.raises(TypeError, match="expected integers, bool, float16, float32 or float64"):
            function(x)


@pytest.mark.parametrize("x", [sparse.coo_matrix((2, 2)), np.ma.ones((2, 2)), [[1.0]]], ids=lambda x: type(x).__name__)
def test_other_kinds_of_arrays_are_refused(x):
    with pytest.raises((TypeError, AttributeError)):
        csrnorm.normalize(x)


@pytest.mark.parametrize("dtype", SPARSE_TYPES)
@pytest.mark.parametrize("axis", [0, 1, -1, -2, (0,), None])
def test_axis_sum(to_layout, dtype, axis):
    x = to_layout(small_counts(dtype))
    sums = csrnorm.axis_sum(x, axis=axis)
    kind = {"f": np.float64, "u": np.uint64}.get(x.dtype.kind, np.int64)
    assert sums.dtype == kind
    assert np.array_equal(sums, dense(x).sum(axis=axis, dtype=kind))
    assert csrnorm.axis_sum(x, axis=axis, dtype=np.float32).dtype == np.float32


def test_axis_sum_does_not_saturate():
    """The sum of more than 2**24 ones in float32, where scipy's stays at 2**24."""
    n = (1 << 24) + 64
    x = sparse.csc_matrix((np.ones(n, np.float32), np.arange(n, dtype=np.int32), np.array([0, n])), shape=(n, 1))
    assert csrnorm.axis_sum(x, axis=0)[0] == n


def test_axis_sum_is_exact_or_an_error():
    big = np.iinfo(np.int64).max
    x = sparse.csr_matrix(np.array([[big, 0], [big - 1, 1]]))
    assert csrnorm.axis_sum(x, axis=1).tolist() == [big, big]
    with pytest.raises(OverflowError, match="sum"):
        csrnorm.axis_sum(x, axis=0)
    huge = sparse.csr_matrix(np.array([[2**64 - 1, 0]], dtype=np.uint64))
    assert csrnorm.axis_sum(huge, axis=1)[0] == 2.0**64


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", [mul, truediv])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16", "float32", "float64", "bool"])
@pytest.mark.parametrize("factors", ["float32", "float64", "int64"])
def test_axis_mul_or_truediv(to_layout, axis, op, dtype, factors):
    x = to_layout(small_counts(dtype))
    scaling = np.random.default_rng(3).integers(1, 9, x.shape[axis]).astype(factors)
    scaling[::5] = 0
    ones = scaling + (scaling == 0)
    wide = ones[:, None] if axis == 0 else ones[None, :]
    expected = op(dense(x), wide)
    result = csrnorm.axis_mul_or_truediv(x, ones if op is mul else scaling, axis, op, allow_divide_by_zero=False)
    assert result is not x and result.dtype == expected.dtype
    assert np.array_equal(dense(result), expected)
    if sparse.issparse(x):
        same = csrnorm.axis_mul_or_truediv(x, ones, axis, op, out=x)
        assert same is x and x.dtype == expected.dtype
        assert np.array_equal(dense(x), expected)


def test_division_by_zero_is_that_of_numpy_unless_told():
    x = sparse.csr_matrix(np.array([[1.0, -2.0], [0.0, 3.0]], dtype=np.float32))
    result = csrnorm.axis_mul_or_truediv(x, np.float32([0, 1]), 0, truediv)
    assert np.array_equal(result.data, np.float32([np.inf, -np.inf, 3]))


def test_scaling_into_another_sparse_matrix_is_refused():
    x = small_counts()
    with pytest.raises(ValueError, match="`out` argument provided but not equal to X"):
        csrnorm.axis_mul_or_truediv(x, np.ones(x.shape[0]), 0, truediv, out=x.copy())


@pytest.mark.parametrize("axis", [0, 1])
def test_a_wrong_number_of_factors_is_refused(to_layout, axis):
    x = to_layout(small_counts())
    with pytest.raises(ValueError, match=f"expected {x.shape[axis]}"):
        csrnorm.axis_mul_or_truediv(x, np.ones(3), axis, truediv)


@pytest.mark.parametrize("values", [[], [0.0, -1.0], [3.0], [1, 2, 3, 4], [np.nan, 2.0, np.inf, 8.0, 0.0]])
def test_median_positive(values):
    values = np.asarray(values)
    kept = values[np.isfinite(values) & (values > 0)]
    expected = np.median(kept) if kept.size else np.nan
    assert np.array_equal(csrnorm.median_positive(values), expected, equal_nan=True)


@pytest.mark.parametrize("fraction", [0, 0.05, 0.3, 1])
def test_highly_expressed_genes(to_layout, fraction, monkeypatch):
    monkeypatch.setattr("csrnorm._dense.BLOCK", 100)
    x = to_layout(small_counts())
    d = dense(x).astype(np.float64)
    expected = (d > fraction * d.sum(1, keepdims=True)).any(0)
    assert np.array_equal(csrnorm.highly_expressed_genes(x, fraction), expected)


def test_target_mean(to_layout):
    x = to_layout(small_counts())
    totals = dense(x).sum(1, dtype=np.float64)
    result = csrnorm.normalize(x, "mean")
    assert result.target == totals.mean() == _core.mean_positive(totals)


def test_normalize_with_is_the_second_half(to_layout):
    x = to_layout(small_counts())
    whole = csrnorm.normalize(x, log1p=True, base=2, copy=True)
    totals = _core.row_totals(x)
    half = _core.normalize_with(x, totals, _core.median_positive(totals), log1p=True, base=2)
    assert np.array_equal(bits(whole.x), bits(half.x)) and np.array_equal(bits(whole.factors), bits(half.factors))


def test_fused_log1p_is_two_calls(to_layout):
    x = to_layout(small_counts())
    two = csrnorm.pp.log1p(csrnorm.normalize(x, copy=True).x)
    assert np.array_equal(bits(csrnorm.normalize(x, log1p=True).x), bits(two))


@pytest.mark.parametrize("dtype", [*SPARSE_TYPES, "float16"])
@pytest.mark.parametrize("base", [None, 2, 10])
def test_log1p(to_layout, dtype, base):
    x = to_layout(small_counts("float32" if dtype == "float16" else dtype))
    if dtype == "float16":
        if sparse.issparse(x):
            return  # scipy has no such matrices
        x = x.astype(np.float16)
    kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    exact = np.log1p(dense(x).astype(np.longdouble)) / (1 if base is None else np.log(np.longdouble(base)))
    result = csrnorm.pp.log1p(x, base=base, copy=True)
    assert result.dtype == kind
    error = np.abs(dense(result).astype(np.longdouble) - exact) / np.spacing(np.abs(exact.astype(kind)) + kind.type(0))
    assert error.max() <= (1 if base is None else 2.5)  # log1p, log(base) and the division, each rounded
    assert np.array_equal(bits(csrnorm.pp.log1p(x, base=base)), bits(result))


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), (0, 5), (5, 0)])
def test_log1p_of_any_shape(shape):
    x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    expected = np.log1p(x)
    result = csrnorm.pp.log1p(x)
    assert result is x and np.allclose(x, expected, rtol=1e-15)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (3, 4)])
def test_nothing_to_do(to_layout, shape):
    for dtype in ("float32", "int32"):
        result = csrnorm.normalize(to_layout(sparse.csr_matrix(shape, dtype=dtype)), exclude_highly_expressed=True)
        assert result.x.shape == shape and result.factors.shape == shape[:1] and not result.factors.any()
        assert np.isnan(result.target) and not dense(result.x).any()


def test_errors_have_the_sentence_of_the_library():
    x = small_counts()
    before = x.data.copy()
    for target in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="target_sum") as error:
            csrnorm.normalize(x, target)
        assert error.value.status == 1 and isinstance(error.value, csrnorm.InvalidArgumentError)
    with pytest.raises(ValueError, match="base is 0"):
        csrnorm.pp.log1p(x, base=0)
    with pytest.raises(csrnorm.CsrnormError, match="base"):
        csrnorm.pp.log1p(x, base=1)
    with pytest.raises(TypeError, match="'median' or 'mean'"):
        csrnorm.normalize(x, "average")
    with pytest.raises(csrnorm.CsrnormError, match="max_fraction"):
        csrnorm.highly_expressed_genes(x, 2)
    x.indptr[3] = x.indptr[-1] + 5
    with pytest.raises(csrnorm.InvalidMatrixError, match="indptr"):
        csrnorm.normalize(x)
    assert np.array_equal(x.data, before)


def test_threads_have_contexts_of_their_own():
    from concurrent.futures import ThreadPoolExecutor

    from csrnorm import _library

    expected = bits(csrnorm.normalize(simulated(), copy=True).x)

    def work(seed):
        return _library.context(), bits(csrnorm.normalize(simulated()).x)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(16)))
    assert len({context for context, _ in results} - {_library.context()}) >= 1
    assert all(np.array_equal(expected, values) for _, values in results)


def test_number_of_threads():
    try:
        csrnorm.set_num_threads(3)
        assert csrnorm.get_num_threads() == 3
        with pytest.raises(ValueError, match="threads is 0"):
            csrnorm.set_num_threads(0)
    finally:
        csrnorm.set_num_threads(None)
