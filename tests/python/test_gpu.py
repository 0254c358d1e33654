"""The package on a GPU: matrices of cupy and torch beside the same ones in host memory, bit for bit.

test_device.py has stand-ins for what no GPU is needed for. Here cupy and torch are real; test_gpu_streams.py goes on
with what they are together with the package: memory, streams, errors, AnnData.
"""

from operator import mul, truediv

import numpy as np
import pytest
from conftest import simulated, sparse
from gpu_arrays import Cupy, Torch, cp, gpu, package, reals, same_bits  # noqa: F401

import csrnorm
from csrnorm import _core, _cuda

MATRICES = {"counts": simulated, "reals": reals}


# ---- The same bits, in place ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", [100.0, "median", "mean"])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("log", [{}, {"log1p": True}, {"log1p": True, "base": 2.0}], ids=["", "log1p", "log2"])
@pytest.mark.parametrize("kind", MATRICES)
def test_normalize(package, kind, layout, index, dtype, target, exclude, log):
    x = MATRICES[kind](dtype=dtype).asformat(layout)
    options = {"target_sum": target, "exclude_highly_expressed": exclude, "max_fraction": 0.1, **log}
    expected = csrnorm.normalize(x.copy(), **options)
    matrix = package.matrix(x, index)
    before = [package.pointer(part) for part in package.parts(matrix)]
    result = csrnorm.normalize(matrix, **options)
    csrnorm.synchronize()
    assert result.x is matrix and [package.pointer(part) for part in package.parts(matrix)] == before
    same_bits(package.host(package.values(matrix)), expected.x.data)
    same_bits(package.host(result.factors), expected.factors)
    assert (result.excluded is None) == (not exclude)
    if exclude:
        assert np.array_equal(package.host(result.excluded), expected.excluded)
    for part, kept in zip(package.parts(matrix), (x.indptr, x.indices)):
        assert np.array_equal(package.host(part), kept)


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("base", [None, 2, 10.0])
def test_log1p(package, layout, dtype, base):
    x = abs(reals(dtype)).asformat(layout)
    x.data[:5] = [0, -1, np.nan, np.inf, -0.0]
    expected = csrnorm.pp.log1p(x.copy(), base=base)
    matrix = package.matrix(x)
    where = package.pointer(package.values(matrix))
    assert csrnorm.pp.log1p(matrix, base=base) is matrix
    assert package.pointer(package.values(matrix)) == where
    found = package.host(package.values(matrix))
    same_bits(found[~np.isnan(found)], expected.data[~np.isnan(expected.data)])
    assert np.array_equal(np.isnan(found), np.isnan(expected.data))


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("kind", MATRICES)
def test_with_totals_without_some_genes(package, kind, layout):
    """What blocks of Dask go through with exclusion."""
    x = MATRICES[kind]().asformat(layout)
    excluded = csrnorm.highly_expressed_genes(x, 0.1)
    totals = _core.row_totals(x, excluded)
    matrix = package.matrix(x)
    assert excluded.any() and np.array_equal(_cuda.row_totals(matrix, excluded), totals)
    expected = _core.normalize_with(x, totals, 12.5, log1p=True, base=2.0, copy=True).x
    assert _cuda.normalize_with(matrix, totals, 12.5, log1p=True, base=2.0) is matrix
    csrnorm.synchronize()
    same_bits(package.host(package.values(matrix)), expected.data)


def test_copies(package):
    x = simulated()
    matrix = package.matrix(x)
    made = csrnorm.normalize(matrix, copy=True).x
    logs = csrnorm.pp.log1p(matrix, copy=True)
    assert made is not matrix and logs is not matrix
    same_bits(package.host(package.values(made)), csrnorm.normalize(x, copy=True).x.data)
    same_bits(package.host(package.values(logs)), csrnorm.pp.log1p(x, copy=True).data)
    same_bits(package.host(package.values(matrix)), x.data)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (4, 3)])
def test_matrices_without_values(package, shape):
    x = sparse.csr_matrix(shape, dtype=np.float32)
    matrix = package.matrix(x)
    result = csrnorm.normalize(matrix, log1p=True)
    assert np.array_equal(package.host(result.factors), np.zeros(shape[0], np.float32))
    for axis in (0, 1):
        assert np.array_equal(package.host(csrnorm.axis_sum(matrix, axis=axis)), np.zeros(shape[1 - axis]))


# ---- The parts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_axis_sum(package, layout, index, axis):
    for dtype in package.value_types:
        kinds = [simulated] if np.dtype(dtype).kind != "f" or axis is None else [simulated, reals]
        for kind in kinds:
            x = kind(dtype=dtype).asformat(layout)
            expected = csrnorm.axis_sum(x, axis=axis)
            found = package.host(csrnorm.axis_sum(package.matrix(x, index), axis=axis))
            same_bits(found, expected)
    x = simulated().asformat(layout)
    found = package.host(csrnorm.axis_sum(package.matrix(x, index), axis=axis, dtype=np.float32))
    same_bits(found, csrnorm.axis_sum(x, axis=axis, dtype=np.float32))


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", [mul, truediv])
@pytest.mark.parametrize("types", ["ff", "dd", "df", "fd"])
@pytest.mark.parametrize("zeros", [False, True])
def test_axis_mul_or_truediv(package, layout, axis, op, types, zeros):
    x = reals(np.dtype(types[0])).asformat(layout)
    factors = np.random.default_rng(5).uniform(0.1, 9, x.shape[axis]).astype(types[1])
    factors[::7] = 0
    expected = csrnorm.axis_mul_or_truediv(x, factors, axis, op, allow_divide_by_zero=zeros)
    matrix = package.matrix(x)
    for given in (factors, package.array(factors)):
        made = csrnorm.axis_mul_or_truediv(matrix, given, axis, op, allow_divide_by_zero=zeros)
        found = package.host(package.values(made))
        assert found.dtype == expected.dtype and np.array_equal(found, expected.data, equal_nan=True)
    same_bits(package.host(package.values(matrix)), x.data)
    where = package.pointer(package.values(matrix))
    if expected.dtype != x.dtype:
        with pytest.raises(TypeError, match="expected float32, as x is"):
            csrnorm.axis_mul_or_truediv(matrix, factors, axis, op, out=matrix)
        return
    same = csrnorm.axis_mul_or_truediv(matrix, factors, axis, op, allow_divide_by_zero=zeros, out=matrix)
    assert same is matrix and package.pointer(package.values(matrix)) == where
    assert np.array_equal(package.host(package.values(matrix)), expected.data, equal_nan=True)


def test_median_positive(package):
    rng = np.random.default_rng(9)
    for values in (
        rng.standard_normal(1001), rng.standard_normal(100_000), np.float32([3, 1, 2, np.nan, np.inf, -5]),
        np.int32([4, 2, 0]), np.float64([0, -1]), np.empty(0),
    ):  # fmt: skip
        expected = csrnorm.median_positive(values)
        found = csrnorm.median_positive(package.array(values))
        assert isinstance(found, float) and np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.1, 1.0])
def test_highly_expressed_genes(package, layout, fraction):
    x = simulated().asformat(layout)
    found = package.host(csrnorm.highly_expressed_genes(package.matrix(x), fraction))
    expected = csrnorm.highly_expressed_genes(x, fraction)
    assert found.dtype == bool and np.array_equal(found, expected)


# ---- Dense arrays --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("target", [100.0, "median", "mean"])
@pytest.mark.parametrize("log1p", [False, True])
def test_dense_arrays(package, dtype, target, log1p):
    x = simulated(dtype=dtype).toarray()
    expected = csrnorm.normalize(x.copy(), target, log1p=log1p)
    array = package.array(x)
    where = package.pointer(array)
    result = csrnorm.normalize(array, target, log1p=log1p)
    assert result.x is array and package.pointer(array) == where
    same_bits(package.host(array), expected.x)
    same_bits(package.host(result.factors), expected.factors)
    assert csrnorm.pp.log1p(array) is array
    same_bits(package.host(array), csrnorm.pp.log1p(expected.x))


def test_rows_of_dense_arrays(package):
    for dtype in (np.bool_, np.uint8, np.int32, np.int64, np.float32, np.float64):
        x = simulated(dtype=dtype).toarray()
        same_bits(package.host(csrnorm.axis_sum(package.array(x), axis=1)), csrnorm.axis_sum(x, axis=1))
    x, factors = simulated().toarray(), np.linspace(1, 2, 300, dtype=np.float32)
    found = csrnorm.axis_mul_or_truediv(package.array(x), factors, 0, truediv)
    same_bits(package.host(found), csrnorm.axis_mul_or_truediv(x, factors, 0, truediv))
    for refused in (
        lambda array: csrnorm.axis_sum(array, axis=0),
        lambda array: csrnorm.highly_expressed_genes(array),
        lambda array: csrnorm.normalize(array, exclude_highly_expressed=True),
        lambda array: csrnorm.axis_mul_or_truediv(array, np.ones(700, np.float32), 1, mul),
    ):
        with pytest.raises(TypeError, match="dense array on a device, where only rows"):
            refused(package.array(x))


# ---- What is refused -----------------------------------------------------------------------------------------------


def test_refused_arrays(package):
    x = simulated().toarray()
    array = package.array(x)
    with pytest.raises(ValueError, match="not contiguous"):
        csrnorm.pp.log1p(array.T)
    with pytest.raises(ValueError, match="not contiguous"):
        csrnorm.pp.log1p(array[:, ::2])
    with pytest.raises(ValueError, match="3 dimensions"):
        csrnorm.pp.log1p(array.reshape(10, 30, 700))
    for dtype in (np.int32, np.float16, np.bool_):
        with pytest.raises(TypeError, match=f"{np.dtype(dtype).name}, expected float32 or float64"):
            csrnorm.normalize(package.array(x.astype(dtype)))
    for dtype in (np.int8, np.int16, np.float16):
        with pytest.raises(TypeError, match=f"{np.dtype(dtype).name}, expected float32, float64, bool"):
            csrnorm.axis_sum(package.array(x.astype(dtype)), axis=1)
    same_bits(package.host(array), x)


def test_refused_arguments(package):
    x = simulated()
    matrix = package.matrix(x)
    for target in (0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="target_sum"):
            csrnorm.normalize(matrix, target)
    with pytest.raises(ValueError, match="max_fraction"):
        csrnorm.normalize(matrix, exclude_highly_expressed=True, max_fraction=2)
    with pytest.raises(ValueError, match="700 entries, expected 300|300 entries, expected 700"):
        csrnorm.axis_mul_or_truediv(matrix, np.ones(700, np.float32), 0, mul)
    with pytest.raises(ValueError, match="expected x itself or None"):
        csrnorm.axis_mul_or_truediv(matrix, np.ones(300, np.float32), 0, mul, out=package.matrix(x))
    same_bits(package.host(package.values(matrix)), x.data)


def test_strided_and_wrong_parts_of_cupy():
    x = simulated()
    matrix = Cupy().matrix(x)
    matrix.data = cp.asarray(np.repeat(x.data, 2))[::2]
    with pytest.raises(ValueError, match="data is not contiguous"):
        csrnorm.normalize(matrix)
    matrix = Cupy().matrix(x)
    matrix.indptr = matrix.indptr[:-1]
    with pytest.raises(ValueError, match="indptr has 300 entries, expected 301"):
        csrnorm.normalize(matrix)
    matrix = Cupy().matrix(x)
    matrix.indices = matrix.indices[:-1]
    with pytest.raises(ValueError, match="indices has"):
        csrnorm.normalize(matrix)
    matrix.indices = matrix.data
    with pytest.raises(TypeError, match="indices is float32"):
        csrnorm.normalize(matrix)


def test_tensors_of_torch_that_are_refused():
    package = Torch()
    torch, x = package.torch, simulated()
    parts = [package.array(part) for part in (x.indptr, x.indices, x.data)]
    batch = torch.sparse_csr_tensor(*(torch.stack([part, part]) for part in parts), size=(2, *x.shape))
    with pytest.raises(ValueError, match="data has 2 dimensions"):
        csrnorm.normalize(batch)
    learning = torch.sparse_csr_tensor(*parts, size=x.shape).requires_grad_()
    with pytest.raises(RuntimeError, match="grad"):
        csrnorm.normalize(learning)
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(TypeError, match="expected float32 or float64"):
            csrnorm.normalize(torch.ones(3, 3, dtype=dtype, device="cuda"))
    with pytest.raises(TypeError, match="expected a CSR or CSC matrix"):
        csrnorm.normalize(torch.ones(3, 3))
    with pytest.raises(TypeError, match="expected a CSR or CSC matrix"):
        csrnorm.normalize(torch.ones(3, 3, device="cuda").to_sparse_coo())
