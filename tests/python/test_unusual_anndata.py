"""AnnData that is not as usual (shared buffers, files, views), and Dask arrays of odd types, sizes and values."""

import signal
import warnings
from operator import mul

import numpy as np
import pytest
from conftest import bits, dense, simulated, sparse

import csrnorm
from csrnorm import _core, _dense

anndata = pytest.importorskip("anndata")
sc = pytest.importorskip("scanpy")


# ---- Buffers that several arrays share -----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["layer", "obsm", "varm", "obsp", "varp", "raw", "X"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, dense])
def test_another_array_of_the_same_buffer_is_treated_as_by_scanpy(where, layout):
    kept = []
    for module in (sc, csrnorm):
        adata = anndata.AnnData(layout(simulated(30, 30)))  # square, or it would not fit everywhere
        x = adata.X if isinstance(adata.X, np.ndarray) else sparse.csr_matrix(adata.X)  # scipy shares the buffers
        if where == "raw":
            adata.raw = adata
            adata.raw._X = other = x
        elif where in ("obsm", "varm", "obsp", "varp"):
            getattr(adata, where)["other"] = other = x
        else:
            adata.layers["other"] = other = x
        module.pp.normalize_total(adata, layer="other" if where == "X" else None)
        module.pp.log1p(adata, layer="other" if where == "X" else None) if layout is dense else None
        kept.append((dense(adata.X if where == "X" else other), dense(x if where == "X" else adata.X)))
    for theirs, ours in zip(*kept):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    if layout is not dense:
        assert np.array_equal(kept[1][0], dense(simulated(30, 30))), "counts were lost"


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


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, dense])
@pytest.mark.parametrize("options", [{}, {"exclude_highly_expressed": True, "max_fraction": 0.2, "key_added": "factor"}])
def test_normalize_total_of_obsm(layout, options):
    """As in scanpy 1.12; 1.11.5 has it not."""
    x, other = simulated(20, 30), layout(simulated(20, 50, seed=9))
    adata = anndata.AnnData(x.copy(), obsm={"other": other.copy()})
    csrnorm.pp.normalize_total(adata, obsm="other", **options)
    key = options.get("key_added")
    expected = csrnorm.normalize(other, **{name: value for name, value in options.items() if name != "key_added"})
    assert np.array_equal(bits(adata.obsm["other"]), bits(expected.x)) and np.array_equal(bits(adata.X), bits(x))
    if key:
        assert expected.excluded.any() and np.array_equal(adata.obs[key], expected.factors)
    with pytest.raises(ValueError, match="expected one of them"):
        csrnorm.pp.normalize_total(adata, obsm="other", layer="another")


def test_chunks_of_no_cells_are_refused(tmp_path):
    anndata.AnnData(simulated(20, 30)).write_h5ad(tmp_path / "x.h5ad")
    adata = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r+")
    with pytest.raises(ValueError, match="chunk_size is 0"):
        csrnorm.pp.log1p(adata, chunked=True, chunk_size=0)
    assert "log1p" not in adata.uns
    adata.file.close()


def test_sums_in_scanpy_do_not_warn():
    adata = anndata.AnnData(simulated(20, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with csrnorm.accelerate_scanpy():
            sc.pp.calculate_qc_metrics(adata, percent_top=None)


# ---- Interrupts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupted(monkeypatch):
    """Interrupts come when a call of the library has replaced values."""
    real = _core.call

    def call_and_interrupt(name, *arguments):
        real(name, *arguments)
        if name in ("normalize_total", "log1p"):
            signal.raise_signal(signal.SIGINT)

    for module in (_core, _dense):
        monkeypatch.setattr(module, "call", call_and_interrupt)
    handler = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, dense])
def test_an_interrupt_waits_until_all_is_noted(layout, dtype, interrupted):
    counts = layout(simulated(20, 30, dtype=dtype))
    adata = anndata.AnnData(counts.copy())
    with pytest.raises(KeyboardInterrupt):
        csrnorm.pp.normalize_total(adata, target_sum=5, key_added="factor", log1p=True)
    assert "factor" in adata.obs and "log1p" in adata.uns
    np.testing.assert_allclose(np.expm1(dense(adata.X)).sum(axis=1), 5, rtol=1e-5)
    adata = anndata.AnnData(counts.copy())
    with pytest.raises(KeyboardInterrupt):
        csrnorm.pp.log1p(adata)
    assert "log1p" in adata.uns
    np.testing.assert_allclose(dense(adata.X), np.log1p(dense(counts)), rtol=1e-6)


def test_an_interrupt_waits_for_all_chunks_in_a_file(tmp_path, interrupted):
    x = dense(simulated(20, 30))
    anndata.AnnData(x).write_h5ad(tmp_path / "x.h5ad")
    adata = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r+")
    with pytest.raises(KeyboardInterrupt):
        csrnorm.pp.log1p(adata, chunked=True, chunk_size=6)
    assert "log1p" in adata.uns
    np.testing.assert_allclose(adata.X[()], np.log1p(x), rtol=1e-6)
    adata.file.close()


@pytest.mark.parametrize(("layout", "step"), [("csc", "csc_to_csr"), ("dask", "target_of")])
def test_an_interrupt_need_not_wait_where_nothing_is_written(layout, step, monkeypatch):
    x = simulated(20, 30)
    monkeypatch.setattr(_core, step, lambda *_: signal.raise_signal(signal.SIGINT) or 1.0)
    lazy = layout == "dask" and pytest.importorskip("dask.array").from_array(x, chunks=(7, 30))
    adata = anndata.AnnData(lazy if layout == "dask" else sparse.csc_matrix(x))
    before = adata.X
    with pytest.raises(KeyboardInterrupt):
        csrnorm.pp.normalize_total(adata, key_added="factor")
    assert "factor" not in adata.obs and adata.X is before


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
    expected = bits(csrnorm.normalize(simulated(20, 30)).x)
    assert np.array_equal(bits(found["X"]), expected) and adata.isbacked
    try:
        adata.X = adata.X[:]
    except KeyError:  # anndata before 0.13 would write it into the file
        with pytest.raises(ValueError, match="r\\+"):
            csrnorm.pp.normalize_total(adata, key_added="factor")
        assert "factor" not in adata.obs
    else:
        adata = anndata.read_h5ad(file, backed="r")
        csrnorm.pp.normalize_total(adata, key_added="factor")
        assert np.array_equal(bits(adata.X), expected) and "factor" in adata.obs
        assert np.array_equal(dense(anndata.read_h5ad(file).X), dense(simulated(20, 30)))
    adata.file.close()


def test_normalize_total_writes_into_a_file(file):
    adata = anndata.read_h5ad(file, backed="r+")
    csrnorm.pp.normalize_total(adata, key_added="factor")
    found = adata.X  # from anndata 0.13 on, what is set is in memory, and the file stays as it was
    if adata.isbacked:
        adata.file.close()
        found = anndata.read_h5ad(file).X
    assert np.array_equal(bits(found), bits(csrnorm.normalize(simulated(20, 30)).x))


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


# ---- In scanpy -----------------------------------------------------------------------------------------------------


def test_views_are_not_gathered_for_a_look(monkeypatch):
    """Their arrays are made anew each time that they are asked for."""
    asked, own = [], csrnorm.pp.get
    monkeypatch.setattr(csrnorm.pp, "get", lambda adata, *names: asked.append(adata) or own(adata, *names))
    for function in ("normalize_total", "log1p"):
        for where in ({}, {"layer": "other"}):
            adata = anndata.AnnData(simulated(20, 30), layers={"other": simulated(20, 30)})
            view = adata[:5]
            expected = getattr(csrnorm.pp, function)(adata[:5].copy(), copy=True, **where)
            asked.clear()
            with csrnorm.accelerate_scanpy(), pytest.warns(UserWarning, match="view"):
                getattr(sc.pp, function)(view, **where)
            assert [one is adata for one in asked] == [True, False] and asked[1] is view
            assert np.array_equal(bits(view.X), bits(expected.X))
            assert np.array_equal(bits(view.layers["other"]), bits(expected.layers["other"]))


def test_an_acceleration_may_be_used_again():
    before = sc.pp.log1p
    acceleration = csrnorm.accelerate_scanpy()
    for _ in range(2):
        with acceleration:
            with acceleration:
                assert sc.pp.log1p is not before
            assert sc.pp.log1p is not before, "the outer block has not ended"
        assert sc.pp.log1p is before
    acceleration.restore()
    assert sc.pp.log1p is before


def test_a_type_registered_by_somebody_else_is_theirs():
    class Own(np.ndarray):
        pass

    sc.pp.log1p.register(Own, lambda x, **_: "theirs")
    x = np.ones((2, 2)).view(Own)
    with csrnorm.accelerate_scanpy():
        assert sc.pp.log1p(x) == "theirs"
        assert np.array_equal(sc.pp.log1p(np.ones((2, 2))), np.log1p(np.ones((2, 2))))


def test_old_name_of_the_data():
    for accelerated in (False, True):
        x = simulated(20, 30)
        expected = csrnorm.pp.log1p(x, copy=True)
        with pytest.warns(FutureWarning, match="renamed"):
            if accelerated:
                with csrnorm.accelerate_scanpy():
                    found = sc.pp.log1p(X=x)
            else:
                found = csrnorm.pp.log1p(X=x)
        assert found is x and np.array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("layout", [lambda x: x.astype(np.int32), sparse.csc_matrix, lambda x: dense(x).astype(int)])
def test_a_key_that_is_none_leaves_new_values_out(layout):
    x = layout(simulated(20, 30))
    adata = anndata.AnnData(x.copy())
    with pytest.raises(TypeError):
        csrnorm.pp.normalize_total(adata, target_sum=10, key_added={})
    found, expected = adata.X, x
    assert type(found) is type(expected) and found.dtype == expected.dtype and abs(found - expected).max() == 0


def test_a_base_for_each_column_is_scanpys():
    x = dense(simulated(20, 30))
    base = np.linspace(2, 10, 30, dtype=np.float32)
    expected = sc.pp.log1p(x.copy(), base=base)
    with csrnorm.accelerate_scanpy():
        assert np.array_equal(sc.pp.log1p(x.copy(), base=base), expected)


def test_results_are_no_views_of_an_anndata():
    adata = anndata.AnnData(simulated(20, 30))[3:9]
    before = adata.X.copy()
    for result in (csrnorm.normalize(adata.X, copy=True).x, csrnorm.pp.log1p(adata.X, copy=True)):
        assert type(result) is sparse.csr_matrix
    assert adata.is_view and abs(adata.X - before).max() == 0


# ---- Dask ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def da():
    return pytest.importorskip("dask.array")


def test_dask_float16_has_the_types_of_memory(da):
    x = dense(simulated(20, 30)).astype(np.float16)
    lazy = csrnorm.normalize(da.from_array(x, chunks=(7, 30)), 50.0)
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


@pytest.mark.parametrize("options", [{}, {"target_sum": 100.0}, {"exclude_highly_expressed": True}])
def test_dask_blocks_of_csc_have_the_bits_of_rows(da, options):
    rng = np.random.default_rng(3)
    x = sparse.csr_matrix(rng.lognormal(size=(40, 300)) * (rng.random((40, 300)) < 0.7))
    lazy = anndata.AnnData(da.from_array(sparse.csc_matrix(x), chunks=(7, 300)))
    memory = anndata.AnnData(x.copy())
    for adata in (lazy, memory):
        csrnorm.pp.normalize_total(adata, key_added="factor", **options)
    found = lazy.X.compute()
    assert found.format == "csr" and np.array_equal(bits(found.data), bits(memory.X.data))
    assert np.array_equal(bits(np.array(lazy.obs["factor"])), bits(np.array(memory.obs["factor"])))


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
        csrnorm.normalize(lazy, 1.0).x.compute()


def test_normalize_takes_dask_arrays(da):
    x = simulated(20, 30)
    lazy = da.from_array(x, chunks=(7, 30), asarray=False)
    options = {"exclude_highly_expressed": True, "max_fraction": 0.2, "log1p": True, "base": 2}
    found, expected = csrnorm.normalize(lazy, **options), csrnorm.normalize(x, copy=True, **options)
    assert found.target == expected.target and np.array_equal(found.excluded, expected.excluded)
    assert np.array_equal(bits(found.x.compute()), bits(expected.x))
    assert np.array_equal(bits(found.factors.compute()), bits(expected.factors))


@pytest.mark.parametrize("target", [None, 7.0])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, dense])
def test_dask_totals_beyond_64_bits_are_those_of_memory(da, layout, target):
    """One block has totals beyond 64 bits; the other has not, but one that depends on how it is rounded."""
    x = layout(np.array([[2**62, 2**62], [5, 2**40 + 1], [2**24 + 1, 2**24 + 2], [3, 0]]))
    lazy = da.from_array(x, chunks=(2, 2), asarray=False)
    found, expected = csrnorm.normalize(lazy, target), csrnorm.normalize(x, target)
    assert np.array_equal(bits(found.x.compute()), bits(expected.x))
    assert np.array_equal(bits(found.factors.compute()), bits(expected.factors))
