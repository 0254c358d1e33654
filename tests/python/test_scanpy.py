"""scanpy's functions beside csrnorm's: the same bits for counts, and the same parameters, warnings, results and side
effects.

Where csrnorm means to differ, docs/python.md says so and a test here holds the difference.
"""

import warnings

import numpy as np
import pytest
from conftest import bits, dense, simulated, sparse

import csrnorm

anndata = pytest.importorskip("anndata")
sc = pytest.importorskip("scanpy")
from importlib.metadata import version  # noqa: E402

if version("scanpy") != "1.11.5":
    pytest.skip("needs scanpy 1.11.5, which is what csrnorm is compared with", allow_module_level=True)

OPTIONS = [
    {},
    {"target_sum": 1e4},
    {"target_sum": 1234.56},
    {"exclude_highly_expressed": True, "max_fraction": 0.05},
    {"exclude_highly_expressed": True, "max_fraction": 0.02, "target_sum": 1e4},
]
IDS = ["median", "1e4", "1234.56", "exclusion", "exclusion, 1e4"]


def both(x, **options):
    """The AnnData that scanpy and csrnorm make of `x`."""
    results = []
    for module in (sc, csrnorm):
        adata = anndata.AnnData(x.copy())
        module.pp.normalize_total(adata, **options)
        results.append(adata)
    return results


def assert_same(expected, found):
    assert type(found) is type(expected) and found.dtype == expected.dtype
    assert np.array_equal(bits(found), bits(expected))


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint16", "int8"])
def test_simulated_counts_to_the_bit(to_layout, dtype, options):
    counts = simulated(120, 300)
    counts.data = np.minimum(counts.data, 120)
    theirs, ours = both(to_layout(counts.astype(dtype)), key_added="factor", **options)
    assert_same(theirs.X, ours.X)
    assert_same(theirs.obs["factor"].to_numpy(), ours.obs["factor"].to_numpy())


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
def test_real_counts_to_the_bit(real_counts, layout, dtype, options):
    theirs, ours = both(layout(real_counts[::8]).astype(dtype), key_added="factor", **options)
    assert_same(theirs.X, ours.X)
    assert_same(theirs.obs["factor"].to_numpy(), ours.obs["factor"].to_numpy())


def test_a_difference_of_one_ulp_is_seen():
    theirs, ours = both(simulated(20, 30))
    ours.X.data[7] = np.nextafter(ours.X.data[7], np.float32(np.inf))
    with pytest.raises(AssertionError):
        assert_same(theirs.X, ours.X)


@pytest.mark.parametrize("options", OPTIONS, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
def test_real_values_within_rounding(dtype, layout, options):
    """Totals of reals are added in another order, and the median of an even number of cells is rounded once."""
    x = simulated(120, 300, dtype=dtype)
    x.data *= np.random.default_rng(2).random(x.nnz, dtype=dtype)
    theirs, ours = both(layout(x), key_added="factor", **options)
    assert type(ours.X) is type(theirs.X) and ours.X.dtype == theirs.X.dtype
    rtol = {"float32": 4, "float64": 16}[dtype] * np.finfo(dtype).eps
    np.testing.assert_allclose(dense(ours.X), dense(theirs.X), rtol=rtol, atol=0)
    np.testing.assert_allclose(ours.obs["factor"], theirs.obs["factor"], rtol=rtol, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
@pytest.mark.parametrize("base", [None, 2])
def test_log1p(to_layout, dtype, base):
    x = to_layout(simulated(60, 80).astype(dtype))
    theirs, ours = anndata.AnnData(x.copy()), anndata.AnnData(x.copy())
    sc.pp.log1p(theirs, base=base)
    csrnorm.pp.log1p(ours, base=base)
    assert type(ours.X) is type(theirs.X) and ours.X.dtype == theirs.X.dtype
    np.testing.assert_allclose(dense(ours.X), dense(theirs.X), rtol=4 * np.finfo(ours.X.dtype).eps)
    assert ours.uns["log1p"] == theirs.uns["log1p"] == {"base": base}


# ---- Side effects -------------------------------------------------------------------------------------------------


def run(module, call, x):
    """What `call(module.pp, adata)` returns, warns, and leaves in an AnnData of `x`."""
    adata = anndata.AnnData(x.copy(), layers={"other": x.copy()})
    adata.obsm["part"] = x[:, :9].copy()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call(module.pp, adata)
        except Exception as error:  # noqa: BLE001
            result = (type(error).__mro__[-3].__name__, str(error))
    return result, [(w.category, str(w.message), w.filename) for w in caught if "csc" not in str(w.message)], adata


def compare(a, b):
    assert type(a) is type(b)
    if isinstance(a, anndata.AnnData):
        for place in ("layers", "obsm"):
            assert set(getattr(a, place)) == set(getattr(b, place))
        compare(a.X, b.X)
        compare(a.layers["other"], b.layers["other"])
        compare(a.obsm["part"], b.obsm["part"])
        assert a.obs.equals(b.obs) and a.is_view == b.is_view and a.uns == b.uns
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            compare(a[key], b[key])
    elif hasattr(a, "dtype"):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(dense(a), dense(b), rtol=4e-7)
    else:
        assert a == b


CALLS = {
    "plain": lambda pp, a: pp.normalize_total(a),
    "key": lambda pp, a: pp.normalize_total(a, key_added="n"),
    "layer": lambda pp, a: pp.normalize_total(a, layer="other", target_sum=10),
    "no layer": lambda pp, a: pp.normalize_total(a, layer="missing"),
    "copy": lambda pp, a: pp.normalize_total(a, copy=True, key_added="n"),
    "not in place": lambda pp, a: pp.normalize_total(a, inplace=False, key_added="n"),
    "not in place, layer": lambda pp, a: pp.normalize_total(a, inplace=False, layer="other"),
    "copy, not in place": lambda pp, a: pp.normalize_total(a, copy=True, inplace=False),
    "fraction": lambda pp, a: pp.normalize_total(a, max_fraction=1.5),
    "exclusion": lambda pp, a: pp.normalize_total(a, exclude_highly_expressed=True),
    "by place": lambda pp, a: pp.normalize_total(a, 10, True, 0.1),
    "too many": lambda pp, a: pp.normalize_total(a, 1, True, 0.1, None, None, True, False, 3),
    "unknown": lambda pp, a: pp.normalize_total(a, layers="all"),
    "layer_norm": lambda pp, a: pp.normalize_total(a, layer_norm="after"),
    "view": lambda pp, a: (lambda v: (pp.normalize_total(v), v)[1])(a[3:20, 2:11]),
    "log1p": lambda pp, a: pp.log1p(a),
    "log1p copy": lambda pp, a: pp.log1p(a, copy=True, base=2),
    "log1p layer": lambda pp, a: pp.log1p(a, layer="other"),
    "log1p obsm": lambda pp, a: pp.log1p(a, obsm="part"),
    "log1p twice": lambda pp, a: (pp.log1p(a), pp.log1p(a, base=10)),
    "log1p view": lambda pp, a: (lambda v: (pp.log1p(v), v)[1])(a[3:20, 2:11]),
    "log1p chunked": lambda pp, a: pp.log1p(a, chunked=True, chunk_size=7),
    "log1p chunked layer": lambda pp, a: pp.log1p(a, chunked=True, layer="other"),
    "log1p array": lambda pp, a: pp.log1p(a.X),
    "log1p array copy": lambda pp, a: pp.log1p(a.X, copy=True, base=3),
    "log1p by its old name": lambda pp, a: pp.log1p(X=a),
}


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_side_effects(kind, name, dtype):
    if name == "log1p chunked" and dtype == "int64":
        pytest.skip("scanpy writes logarithms into an array of integers: docs/python.md")
    if name == "log1p view" and kind == "csc":
        pytest.skip("the view of a CSC matrix cannot be made by this anndata and scipy")
    counts = simulated(40, 60).astype(dtype)
    x = {"csr": counts, "csc": counts.tocsc(), "dense": dense(counts)}[kind]
    (r1, w1, a1), (r2, w2, a2) = (run(module, CALLS[name], x) for module in (sc, csrnorm))
    compare(r1, r2)
    compare(a1, a2)
    assert [w[:2] for w in w1] == [w[:2] for w in w2]
    assert all(w[2] == __file__ for w in w2), "a warning should name the line of the caller"


def test_the_caller_keeps_its_counts():
    """The same matrix as X and as a layer: integers stay, as with scanpy."""
    for module in (sc, csrnorm):
        x = simulated(30, 40).astype(np.int32)
        adata = anndata.AnnData(x)
        adata.layers["counts"] = adata.X
        module.pp.normalize_total(adata)
        assert adata.layers["counts"].dtype == np.int32 and adata.X.dtype == np.float32
        assert not np.shares_memory(adata.X.indices, adata.layers["counts"].indices)


def test_messages_go_to_the_log_of_scanpy(caplog):
    sc.settings._root_logger.addHandler(caplog.handler)
    verbosity, sc.settings.verbosity = sc.settings.verbosity, 3
    try:
        lines = []
        for module in (sc, csrnorm):
            caplog.clear()
            adata = anndata.AnnData(simulated(40, 60))
            module.pp.normalize_total(adata, exclude_highly_expressed=True, max_fraction=0.2, key_added="n")
            module.pp.log1p(adata)
            module.pp.log1p(adata)
            lines.append([(r.levelname, r.getMessage().split("(0:")[0]) for r in caplog.records])
        assert lines[0] == lines[1] and len(lines[0]) == 4
    finally:
        sc.settings.verbosity = verbosity
        sc.settings._root_logger.removeHandler(caplog.handler)


@pytest.mark.parametrize("kind", ["csr", "dense"])
def test_backed(tmp_path, kind):
    x = simulated(50, 60)
    anndata.AnnData(x if kind == "csr" else dense(x)).write_h5ad(tmp_path / "x.h5ad")
    expected = csrnorm.pp.log1p(x, copy=True)
    adata = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    with pytest.raises(NotImplementedError, match="mode not r+"):
        csrnorm.pp.log1p(adata, chunked=True)
    with pytest.raises(NotImplementedError, match="without `chunked=True`"):
        csrnorm.pp.log1p(adata)
    adata.file.close()
    if kind == "csr":
        return  # scanpy has no way to write into a sparse matrix in a file either
    adata = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r+")
    csrnorm.pp.log1p(adata, chunked=True, chunk_size=7)
    assert np.array_equal(adata.X[()], dense(expected))
    adata.file.close()


# ---- Differences that are meant -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Some cells have zero counts")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_median_is_over_cells_that_are_not_empty():
    x = sparse.csr_matrix(np.diag([0, 0, 0, 2, 4]).astype(np.float32))
    result = csrnorm.pp.normalize_total(anndata.AnnData(x), inplace=False)
    assert result["norm_factor"].tolist() == [0, 0, 0, np.float32(2 / 3), np.float32(4 / 3)]
    # scanpy does so too, but not for CSR, where the median over all cells is 0 here.
    theirs = sc.pp.normalize_total(anndata.AnnData(x.toarray()), inplace=False)
    assert np.array_equal(theirs["norm_factor"], result["norm_factor"])
    assert not np.isfinite(sc.pp.normalize_total(anndata.AnnData(x.copy()), inplace=False)["norm_factor"]).all()


def test_a_matrix_without_counts_stays():
    x = sparse.csr_matrix((4, 5), dtype=np.float32)
    with pytest.warns(UserWarning, match="Some cells have zero counts"):
        result = csrnorm.pp.normalize_total(anndata.AnnData(x), inplace=False)
    assert result["X"].nnz == 0 and result["norm_factor"].tolist() == [0, 0, 0, 0]


def test_integers_are_added_before_they_are_rounded():
    x = sparse.csr_matrix(np.array([[2**24 + 1, 2**24 + 1]], dtype=np.int32))
    factor = csrnorm.pp.normalize_total(anndata.AnnData(x), target_sum=1.0, inplace=False)["norm_factor"]
    assert factor[0] == np.float32(2**25 + 2)


def test_reals_are_added_in_lanes():
    """One and three times half its last place: one by one each is lost, two of them together are not."""
    x = sparse.csr_matrix(np.array([[1] + [2.0**-53] * 3]))
    theirs, ours = (module.pp.normalize_total(anndata.AnnData(x.copy()), target_sum=1, inplace=False)["norm_factor"]
                    for module in (sc, csrnorm))  # fmt: skip
    assert theirs[0] == 1 and ours[0] == 1 + 2.0**-52


def test_the_median_of_an_even_number_of_cells_is_rounded_once():
    half = 2.0**-24  # of the last place of a float32 at one
    x = sparse.csr_matrix(np.float32([[1, half], [1, 2.75 * half]]))
    results = [module.pp.normalize_total(anndata.AnnData(x.copy()), inplace=False) for module in (sc, csrnorm)]
    theirs, ours = (result["norm_factor"].tolist() for result in results)
    # Totals 1 + half (a tie) and 1 + 2.75 half; scanpy rounds them to 1 and 1 + 2 half, whose mean is a tie again.
    assert theirs == [1, 1 + 2 * half] and ours == [1 - 2 * half, 1]


def test_excluded_genes_are_compared_with_the_total_as_it_is():
    x = np.float32([[1, 1 - 2.0**-24], [1, 1]])
    options = {"exclude_highly_expressed": True, "max_fraction": 0.5, "target_sum": 1, "inplace": False}
    found = [[module.pp.normalize_total(anndata.AnnData(kind(x)), **options)["norm_factor"].tolist()
              for module in (sc, csrnorm)] for kind in (sparse.csr_matrix, np.array)]  # fmt: skip
    # Half of the first total is below 1; of the total in float32, which is 2, it is not.
    assert found == [[[2, 2], [1 - 2.0**-24, 1]]] * 2


def test_minus_one_has_no_warning():
    """As numpy's logarithms do have, in scanpy."""
    for module, expected in ((sc, 1), (csrnorm, 0)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = module.pp.log1p(np.array([[-1.0, -2.0, 0.0]]))
        assert np.array_equal(found, [[-np.inf, np.nan, 0]], equal_nan=True)
        assert any(warning.category is RuntimeWarning for warning in caught) == bool(expected)


def test_a_numpy_number_as_target_keeps_float32():
    x = simulated(10, 20)
    result = csrnorm.pp.normalize_total(anndata.AnnData(x), target_sum=np.float64(1e4), inplace=False)
    assert result["X"].dtype == np.float32


def test_fused_log1p_and_mean():
    x = simulated(50, 60)
    fused = anndata.AnnData(x.copy())
    csrnorm.pp.normalize_total(fused, target_sum="mean", log1p=True, base=2)
    two = anndata.AnnData(x.copy())
    csrnorm.pp.normalize_total(two, target_sum=float(x.sum(1, dtype=np.float64).mean()))
    csrnorm.pp.log1p(two, base=2)
    assert_same(two.X, fused.X)
    assert fused.uns["log1p"] == {"base": 2}


def test_nan_and_infinity_stay_in_their_cell():
    x = simulated(10, 20)
    x.data[x.indptr[3]] = np.nan
    with pytest.warns(UserWarning, match="Some cells have zero counts"):
        result = dense(csrnorm.pp.normalize_total(anndata.AnnData(x), inplace=False)["X"])
    assert np.isnan(result[3]).any() and not np.isnan(np.delete(result, 3, 0)).any()
    assert np.isnan(csrnorm.pp.log1p(x).data[x.indptr[3]])
