"""csrnorm put into scanpy and taken out again, everywhere and completely."""

import sys
from operator import mul, truediv

import numpy as np
import pytest
from conftest import bits, dense, simulated, sparse

import csrnorm

anndata = pytest.importorskip("anndata")
sc = pytest.importorskip("scanpy")

NAMES = ["normalize_total", "log1p", "axis_sum", "axis_mul_or_truediv"]
#: scanpy 1.12 takes its sums from fast-array-utils.
HAS_AXIS_SUM = hasattr(sc._utils, "axis_sum")
needs_axis_sum = pytest.mark.skipif(not HAS_AXIS_SUM, reason="this scanpy has no axis_sum")


def everywhere():
    """{(module, name): function} for everything in scanpy's modules with one of the names."""
    return {
        (name, attribute): value
        for name, module in list(sys.modules.items())
        if name == "scanpy" or name.startswith("scanpy.")
        for attribute, value in list(vars(module).items())
        if attribute in NAMES and callable(value)
    }


def test_every_name_is_replaced_and_restored():
    before = everywhere()
    for place in [("scanpy.preprocessing", "normalize_total"), ("scanpy.preprocessing._recipes", "normalize_total"),
                  ("scanpy.preprocessing._simple", "log1p"), ("scanpy.preprocessing._qc", "axis_sum"),
                  ("scanpy.preprocessing._normalization", "axis_mul_or_truediv"), ("scanpy._utils", "axis_sum")]:  # fmt: skip
        assert place in before or (place[1] == "axis_sum" and not HAS_AXIS_SUM)
    with csrnorm.accelerate_scanpy():
        inside = everywhere()
        assert set(inside) == set(before)
        for place in before:
            assert inside[place] is not before[place], place
            assert inside[place].__wrapped__ is before[place], place
            assert inside[place].__doc__ == before[place].__doc__
    assert everywhere() == before


def test_nested_and_repeated():
    before = sc.pp.log1p
    first = csrnorm.accelerate_scanpy()
    second = csrnorm.accelerate_scanpy()
    first.restore()
    first.restore()
    assert sc.pp.log1p is not before
    second.restore()
    assert sc.pp.log1p is before


def test_restored_after_an_error():
    before = everywhere()
    with pytest.raises(KeyError):
        with csrnorm.accelerate_scanpy():
            raise KeyError
    assert everywhere() == before


def test_it_is_csrnorm_that_works():
    x = simulated()
    adata = anndata.AnnData(x)
    place = x.data.ctypes.data
    with csrnorm.accelerate_scanpy():
        sc.pp.normalize_total(adata, target_sum="mean", log1p=True)
    assert adata.X.data.ctypes.data == place and adata.uns["log1p"] == {"base": None}


@needs_axis_sum
@pytest.mark.parametrize("axis", [0, 1, -1, (0,), (1,), None])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, dense])
def test_axis_sum_has_the_type_and_shape_of_scanpy(axis, dtype, layout):
    x = layout(simulated(30, 30).astype(dtype))
    if isinstance(axis, tuple) and sparse.issparse(x):
        axis = axis[0]
    plain = sc._utils.axis_sum(x, axis=axis)
    with csrnorm.accelerate_scanpy():
        found = sc._utils.axis_sum(x, axis=axis)
        wide = sc._utils.axis_sum(x, axis=axis, dtype=np.float64)
    assert type(found) is type(plain) and found.dtype == plain.dtype
    assert np.shape(found) == np.shape(plain) and np.array_equal(found, plain)
    assert wide.dtype == np.float64 and np.array_equal(wide, plain)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", [mul, truediv])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, dense])
@pytest.mark.parametrize("in_place", [False, True])
def test_axis_mul_or_truediv_is_that_of_scanpy(axis, op, dtype, layout, in_place):
    if in_place and layout is dense and dtype == "int32" and op is truediv:
        pytest.skip("numpy refuses to write quotients into integers")
    factors = np.random.default_rng(4).integers(0, 5, 30).astype(dtype)
    results = []
    for accelerated in (False, True):
        x = layout(simulated(30, 30).astype(dtype))
        context = csrnorm.accelerate_scanpy() if accelerated else None
        results.append(
            sc._utils.axis_mul_or_truediv(
                x, factors, axis, op, allow_divide_by_zero=False, out=x if in_place else None
            )
        )
        if context:
            context.restore()
    assert type(results[0]) is type(results[1]) and results[0].dtype == results[1].dtype
    assert np.array_equal(bits(results[0]), bits(results[1]))


def test_what_csrnorm_does_not_do_goes_to_scanpy():
    x = np.array([[1.0 + 1j, 2.0]])
    expected = sc.pp.log1p(x, copy=True)
    flags = np.array([True, False, True])
    with csrnorm.accelerate_scanpy():
        assert np.array_equal(sc.pp.log1p(x, copy=True), expected)
        if HAS_AXIS_SUM:
            assert sc._utils.axis_sum(flags) == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_pipeline_gives_the_same(dtype):
    def pipeline():
        adata = anndata.AnnData(simulated(200, 300).astype(dtype))
        sc.pp.calculate_qc_metrics(adata, inplace=True, percent_top=None)
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        adata.X = dense(adata.X)
        sc.pp.scale(adata)
        return adata

    plain = pipeline()
    with csrnorm.accelerate_scanpy():
        fast = pipeline()
    np.testing.assert_allclose(fast.X, plain.X, rtol=1e-4, atol=1e-5)
    for column in plain.obs:
        np.testing.assert_allclose(fast.obs[column], plain.obs[column], rtol=1e-6)
