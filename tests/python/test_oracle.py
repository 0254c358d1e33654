"""Matrices that hypothesis makes up, against an oracle in float64 and exact fractions: any structure, any values.

The oracle shares nothing with the library. Values of the result may be off from it by what two roundings in the
type of the result allow.
"""

import math

import numpy as np
import pytest
from conftest import dense, sparse

import csrnorm

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st  # noqa: E402

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=40, database=None)
settings.load_profile("fixed")

SMALLEST = 2.0**-60
REALS = st.one_of(st.just(0.0), st.floats(SMALLEST, 1e6, width=32), st.floats(-1e6, -SMALLEST, width=32))
COUNTS = st.integers(0, 255)


@st.composite
def matrices(draw, values=REALS, dtypes=("float32", "float64")):
    """CSR or CSC, with explicit zeros, unsorted and duplicate indices, int32 or int64 offsets."""
    rows, columns = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    lengths = [draw(st.integers(0, 12)) if columns else 0 for _ in range(rows)]
    nnz = sum(lengths)
    indices = draw(st.lists(st.integers(0, max(columns - 1, 0)), min_size=nnz, max_size=nnz))
    data = np.array(draw(st.lists(values, min_size=nnz, max_size=nnz)), dtype=draw(st.sampled_from(dtypes)))
    offset = draw(st.sampled_from([np.int32, np.int64]))
    x = sparse.csr_matrix((rows, columns), dtype=data.dtype)
    x.indptr, x.indices = np.cumsum([0, *lengths]).astype(offset), np.array(indices, dtype=offset)
    x.data = data
    return x.T if draw(st.booleans()) else x


def entries(x):
    """Row, column and value of every stored entry, in order."""
    coo = x.tocoo()
    return coo.row, coo.col, x.data.astype(np.float64)


def exact_totals(x, excluded=None):
    rows, columns, values = entries(x)
    kept = np.ones(values.size, bool) if excluded is None else ~excluded[columns]
    return np.array([math.fsum(values[kept & (rows == i)]) for i in range(x.shape[0])])


def close(actual, expected, x, scale=4.0):
    """Equal up to `scale` roundings in the type of the result."""
    eps = np.finfo(actual.dtype).eps
    return np.all(np.abs(actual - expected) <= scale * eps * np.abs(expected) + np.finfo(actual.dtype).tiny)


@given(matrices(), st.sampled_from([0, 1]))
def test_sums(x, axis):
    rows, columns, values = entries(x)
    groups = columns if axis == 0 else rows
    sums = csrnorm.axis_sum(x, axis=axis)
    for i, found in enumerate(sums):
        of = np.abs(values[groups == i])
        # Columns are added in fixed point: in steps of 2**-62 of the power of two above the largest entry of all.
        step = 2.0**-61 * np.abs(values).max(initial=0) * of.size
        assert abs(found - math.fsum(values[groups == i])) <= 64 * np.finfo(np.float64).eps * of.sum() + step


@given(matrices(COUNTS, ("uint8", "int16", "int32", "uint64", "float32")), st.sampled_from([0, 1]))
def test_sums_of_counts_are_exact(x, axis):
    assert np.array_equal(csrnorm.axis_sum(x, axis=axis), dense(x.astype(np.int64)).sum(axis))


@given(matrices(COUNTS, ("uint8", "int32", "int64", "float32", "float64")), st.data())
def test_normalize(x, data):
    fraction = data.draw(st.sampled_from([None, 0.0, 0.2, 0.5, 1.0]))
    target = data.draw(st.sampled_from([None, "mean", 1.0, 1e4, 1234.5]))
    excluded = None
    rows, columns, values = entries(x)
    if fraction is not None:
        excluded = np.zeros(x.shape[1], bool)
        excluded[columns[values > fraction * exact_totals(x)[rows]]] = True
    totals = exact_totals(x, excluded)
    positive = totals[totals > 0]
    wanted = target if isinstance(target, float) else np.nan
    if positive.size and not isinstance(target, float):
        wanted = np.median(positive) if target is None else math.fsum(positive) / positive.size
    result = csrnorm.normalize(
        x, target, exclude_highly_expressed=fraction is not None, max_fraction=fraction or 0.0, copy=True
    )
    assert np.array_equal(result.target, wanted, equal_nan=True)
    factors = np.zeros_like(totals) if np.isnan(wanted) else totals / wanted
    assert close(result.factors, factors, x)
    assert close(result.x.data, values / np.where(factors == 0, 1, factors)[rows], x)
    assert np.array_equal(result.x.indices, x.indices) and np.array_equal(result.x.indptr, x.indptr)
    if excluded is not None:
        assert np.array_equal(result.excluded, excluded)


@given(matrices(REALS), st.sampled_from([None, 2.0, 10.0]))
def test_log1p(x, base):
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.log1p(x.data.astype(np.float64)) / (1 if base is None else np.log(base))
    found = csrnorm.pp.log1p(x, base=base, copy=True).data
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    number = np.isfinite(expected)
    assert close(found[number], expected[number], x)
    assert np.array_equal(found[~number], expected[~number], equal_nan=True)


@given(matrices(REALS), st.sampled_from([0, 1]), st.data())
def test_scaling(x, axis, data):
    from operator import truediv

    n = x.shape[axis]
    factors = np.array(data.draw(st.lists(st.floats(0.125, 1e3), min_size=n, max_size=n)))
    rows, columns, values = entries(x)
    result = csrnorm.axis_mul_or_truediv(x, factors, axis, truediv)
    assert np.array_equal(result.data, values / factors[rows if axis == 0 else columns])


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60))
def test_median(values):
    values = np.array(values)
    kept = values[np.isfinite(values) & (values > 0)]
    with np.errstate(over="ignore"):
        found = csrnorm.median_positive(values)
    if kept.size == 0:
        assert np.isnan(found)
    else:
        low, high = np.sort(kept)[[(kept.size - 1) // 2, kept.size // 2]]
        assert found == (low + high) / 2 or found == low / 2 + high / 2
