"""AnnData that is not as usual (shared buffers, files, views), and Dask arrays of odd types, sizes and values."""

import warnings
from operator import mul

import numpy as np
import pytest
from conftest import bits, dense, simulated, sparse

import csrnorm

anndata = pytest.importorskip("anndata")
sc = pytest.importorskip("scanpy")


# ---- Buffers that several arrays share -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["layer", "obsm", "raw", "X"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, dense])
def test_another_array_of_the_same_buffer_is_treated_as_by_scanpy(where, layout):
    kept = []
    for module in (sc, csrnorm):
        adata = anndata.AnnData(layout(simulated(20, 30)))
        x = adata.X if isinstance(adata.X, np.ndarray) else sparse.csr_matrix(adata.X)  # scipy shares the buffers
        if where == "raw":
            adata.raw = adata
            adata.raw._X = other = x
        elif where == "obsm":
            adata.obsm["other"] = other = x
        else:
            adata.layers["other"] = other = x
        module.pp.normalize_total(adata, layer="other" if where == "X" else None)
        module.pp.log1p(adata, layer="other" if where == "X" else None) if layout is dense else None
        kept.append((dense(adata.X if where == "X" else other), dense(x if where == "X" else adata.X)))
    for theirs, ours in zip(*kept):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    if layout is not dense:
        assert np.array_equal(kept[1][0], dense(simulated(20, 30))), "counts were lost"


def test_one_object_in_two_places_changes_in_both():
    adata = anndata.AnnData(simulated(20, 30))
    adata.layers["same"] = adata.X
    place = adata.X.data.ctypes.data
    csrnorm.pp.normalize_total(adata)
    assert adata.layers["same"] is adata.X and adata.X.data.ctypes.data == place


# ---- Views ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("part", [np.s_[:5], np.s_[:, 2:9], np.s_[::2], np.s_[[1, 4, 7]]])
@pytest.mark.parametrize("accelerated", [False, True])
def test_log1p_of_the_array_of_a_view(order, part, accelerated):
    results = []
    for ours in (False, True):
        adata = anndata.AnnData(np.asarray(dense(simulated(20, 30)), order=order))
        view = adata[part]
        if ours and accelerated:
            with csrnorm.accelerate_scanpy():
                result = sc.pp.log1p(view.X)
        else:
            result = (csrnorm if ours else sc).pp.log1p(view.X)
        results.append((np.asarray(result), view.is_view, np.asarray(view.X), adata.X))
    for theirs, ours in zip(*results):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert results[1][1], "the view became an object of its own"


def test_dense_x_stays_the_object_that_it_is():
    adata = anndata.AnnData(dense(simulated(20, 30)))
    x = adata.X
    csrnorm.pp.normalize_total(adata)
    assert adata.X is x


# ---- Arguments -----------------------------------------------------------------------------------------------------


def test_adata_may_be_named():
    one, other = (anndata.AnnData(simulated(20, 30)) for _ in range(2))
    csrnorm.pp.normalize_total(one)
    csrnorm.pp.normalize_total(adata=other)
    assert np.array_equal(bits(one.X), bits(other.X))
    with pytest.raises(TypeError, match="adata"):
        csrnorm.pp.normalize_total()


def test_sums_in_scanpy_do_not_warn():
    adata = anndata.AnnData(simulated(20, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with csrnorm.accelerate_scanpy():
            sc.pp.calculate_qc_metrics(adata, percent_top=None)


# ---- Files ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[sparse.csr_matrix, sparse.csc_matrix, dense])
def file(request, tmp_path):
    anndata.AnnData(request.param(simulated(20, 30))).write_h5ad(tmp_path / "x.h5ad")
    return tmp_path / "x.h5ad"


@pytest.mark.parametrize("accelerated", [False, True])
def test_normalize_total_reads_from_a_file(file, accelerated):
    adata = anndata.read_h5ad(file, backed="r")
    if accelerated:
        with csrnorm.accelerate_scanpy():
            found = sc.pp.normalize_total(adata, inplace=False)
    else:
        found = csrnorm.pp.normalize_total(adata, inplace=False)
    assert np.array_equal(bits(found["X"]), bits(csrnorm.normalize(simulated(20, 30)).x))
    with pytest.raises(ValueError, match="r\\+"):
        csrnorm.pp.normalize_total(adata, key_added="factor")
    assert "factor" not in adata.obs
    adata.file.close()


def test_normalize_total_writes_into_a_file(file):
    adata = anndata.read_h5ad(file, backed="r+")
    csrnorm.pp.normalize_total(adata, key_added="factor")
    adata.file.close()
    assert np.array_equal(bits(anndata.read_h5ad(file).X), bits(csrnorm.normalize(simulated(20, 30)).x))


@pytest.mark.parametrize("layout", [sparse.csr_matrix, dense])
def test_logarithms_are_not_written_into_a_file_of_integers(layout, tmp_path):
    counts = simulated(20, 30, dtype=np.int32)
    anndata.AnnData(layout(counts)).write_h5ad(tmp_path / "x.h5ad")
    adata = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r+")
    with pytest.raises(TypeError, match="int32"):
        csrnorm.pp.log1p(adata, chunked=True)
    assert "log1p" not in adata.uns
    adata.file.close()
    assert np.array_equal(dense(anndata.read_h5ad(tmp_path / "x.h5ad").X), dense(counts))


# ---- Dask ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def da():
    return pytest.importorskip("dask.array")


def test_dask_float16_has_the_types_of_memory(da):
    x = dense(simulated(20, 30)).astype(np.float16)
    lazy = csrnorm.pp._normalize(da.from_array(x, chunks=(7, 30)), 50.0, copy=True)
    memory = csrnorm.normalize(x.copy(), 50.0)
    for found, expected in ((lazy.x, memory.x), (lazy.factors, memory.factors)):
        assert found.dtype == expected.dtype == found.compute().dtype
        assert np.array_equal(bits(found.compute()), bits(expected))
    lazy = csrnorm.pp.log1p(da.from_array(dense(simulated(20, 30)).astype(">f4"), chunks=(7, 30)))
    assert lazy.dtype == lazy.compute().dtype and lazy.dtype.isnative


@pytest.mark.parametrize("base", [-1, 1, float("nan")])
def test_dask_refuses_a_bad_base_at_once(da, base):
    adata = anndata.AnnData(da.from_array(dense(simulated(20, 30)), chunks=(7, 30)))
    with pytest.raises(ValueError):
        csrnorm.pp.log1p(adata, base=base)
    with pytest.raises(ValueError):
        csrnorm.pp.normalize_total(adata, target_sum=1, log1p=True, base=base)
    assert "log1p" not in adata.uns


def unknown(da, x):
    """`x` in chunks of cells whose sizes Dask does not know."""
    lazy = da.from_array(x, chunks=(7, x.shape[1]))
    return lazy[da.from_array(np.ones(x.shape[0], bool), chunks=7)]


def test_dask_scales_chunks_of_unknown_size(da):
    x = dense(simulated(20, 30))
    lazy = unknown(da, x)
    scaled = csrnorm.axis_mul_or_truediv(lazy, csrnorm.axis_sum(lazy, axis=1), 0, mul)
    assert np.array_equal(scaled.compute(), csrnorm.axis_mul_or_truediv(x, csrnorm.axis_sum(x, axis=1), 0, mul))
    with pytest.raises(ValueError, match="unknown"):
        csrnorm.axis_mul_or_truediv(lazy, np.ones(20), 0, mul)
    with pytest.raises(ValueError, match="30"):
        csrnorm.axis_mul_or_truediv(lazy, np.ones(4), 1, mul)


@pytest.mark.parametrize("chunks", [(3, 1), (1, 1)])
@pytest.mark.parametrize("axis", [0, None])
def test_dask_sums_of_integers_do_not_wrap(da, chunks, axis):
    lazy = da.from_array(np.array([[2**62]] * 3), chunks=chunks)
    with pytest.raises(csrnorm.SumOverflowError):
        csrnorm.axis_sum(lazy, axis=axis).compute()


def test_dask_refuses_an_index_that_is_none(da):
    x = sparse.csc_matrix(np.ones((30, 20), np.float32))
    x.indices[3] = 10**6
    lazy = da.from_array(x, chunks=x.shape, asarray=False)
    with pytest.raises(csrnorm.InvalidMatrixError):
        csrnorm.pp._normalize(lazy, 1.0, copy=True).x.compute()
