"""Dask arrays: the bits of the same matrix in memory for every layout of the chunks, nothing computed but what has to be.

One machine, the threaded scheduler; test_dask_cluster.py has processes.
"""

from __future__ import annotations

import pickle
from operator import mul, truediv

import numpy as np
import pytest
import scipy.sparse as sp

import csrnorm
from csrnorm import _core, _dask

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
anndata = pytest.importorskip("anndata")

CELLS, GENES = 410, 90


def matrix(kind=sp.csr_matrix, dtype=np.float32, reals=False):
    """Skewed counts with an empty cell and a gene that dominates some cells; or reals."""
    rng = np.random.default_rng(5)
    dense = rng.poisson(rng.gamma(0.5, 1, GENES) * rng.lognormal(0, 1, (CELLS, 1)))
    dense[7] = 0
    dense[::50, 3] = 900
    dense = dense * rng.uniform(0.1, 3, dense.shape) if reals else dense
    return kind(dense.astype(dtype)) if kind is not np.asarray else dense.astype(dtype)


def chunked(x, rows, columns=GENES):
    """The matrix as a lazy array of blocks of its own kind."""
    blocks = [[x[i : i + rows, j : j + columns] for j in range(0, GENES, columns)] for i in range(0, CELLS, rows)]
    return da.block([[da.from_array(part, chunks=part.shape, asarray=False) for part in row] for row in blocks])


def dense(x):
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def assert_same_bits(got, expected):
    got, expected = dense(got), dense(expected)
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


@pytest.fixture(autouse=True)
def threads():
    with dask.config.set(scheduler="threads", num_workers=3):
        yield


KINDS = [sp.csr_matrix, sp.csr_array, sp.csc_matrix, np.asarray]
OPTIONS = [
    {},
    {"target_sum": 1e4},
    {"target_sum": "mean", "log1p": True, "base": 2},
    {"target_sum": 50, "exclude_highly_expressed": True, "max_fraction": 0.2},
    {"exclude_highly_expressed": True, "max_fraction": 0.2, "log1p": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("rows", "columns", "reals"), [(64, GENES, True), (100, 40, False), (CELLS, GENES, False)])
def test_normalize_total_has_the_bits_of_memory(kind, rows, columns, reals, options):
    x = matrix(kind, reals=reals)
    lazy = anndata.AnnData(chunked(x, rows, columns))
    memory = anndata.AnnData(x.copy())
    csrnorm.pp.normalize_total(lazy, key_added="factor", **options)
    with pytest.warns(UserWarning, match="zero counts"):
        csrnorm.pp.normalize_total(memory, key_added="factor", **options)
    assert isinstance(lazy.X, da.Array)
    assert lazy.X.numblocks[0] == -(-CELLS // rows)
    computed = lazy.X.compute()
    assert type(computed) is type(memory.X) is type(lazy.X._meta)
    assert_same_bits(computed, memory.X)
    assert_same_bits(lazy.obs["factor"].to_numpy(), memory.obs["factor"].to_numpy())
    assert lazy.uns.get("log1p") == memory.uns.get("log1p")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float64, bool])
def test_every_type(dtype):
    x = matrix(dtype=np.int64).astype(dtype)
    for run in (csrnorm.pp.normalize_total, csrnorm.pp.log1p):
        lazy, memory = anndata.AnnData(chunked(x, 97)), anndata.AnnData(x.copy())
        run(lazy)
        run(memory)
        assert lazy.X.dtype == memory.X.dtype
        assert_same_bits(lazy.X.compute(), memory.X)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_log1p(kind):
    x = matrix(kind, reals=True)
    for base in (None, 10):
        lazy = csrnorm.pp.log1p(chunked(x, 64), base=base)
        assert isinstance(lazy, da.Array)
        assert_same_bits(lazy.compute(), csrnorm.pp.log1p(x.copy(), base=base))


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_matrix], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8])
def test_axis_sum(kind, dtype):
    x = matrix(kind, np.int64).astype(dtype)
    for axis in (0, 1, -1, None, (0, 1)):
        lazy = csrnorm.axis_sum(chunked(x, 64, 40), axis=axis)
        assert isinstance(lazy, da.Array)
        assert lazy.shape == np.shape(csrnorm.axis_sum(x, axis=axis))
        assert_same_bits(lazy.compute(), csrnorm.axis_sum(x, axis=axis))
    assert csrnorm.axis_sum(chunked(x, 64), axis=1, dtype=np.float32).compute().dtype == np.float32


def test_axis_sum_of_reals():
    x = matrix(reals=True)
    assert_same_bits(csrnorm.axis_sum(chunked(x, 64), axis=1).compute(), csrnorm.axis_sum(x, axis=1))
    columns = csrnorm.axis_sum(chunked(x, 64), axis=0).compute()
    np.testing.assert_allclose(columns, csrnorm.axis_sum(x, axis=0), rtol=1e-14)


def test_sums_beyond_64_bits_are_an_error():
    x = sp.csr_matrix(np.full((CELLS, 1), 2**62, dtype=np.int64))
    one_per_block = da.from_array(x, chunks=(1, 1), asarray=False)
    with pytest.raises(OverflowError):
        csrnorm.axis_sum(one_per_block, axis=0).compute()
    opposite = da.from_array(x.multiply(np.where(np.arange(CELLS) % 2, -1, 1)[:, None]).tocsr(), chunks=(1, 1))
    assert csrnorm.axis_sum(opposite, axis=0).compute() == 0


@pytest.mark.parametrize("kind", [sp.csr_matrix, np.asarray], ids=lambda kind: kind.__name__)
def test_axis_mul_or_truediv(kind):
    x = matrix(kind, reals=True)
    for axis, op in ((0, truediv), (1, truediv), (0, mul), (1, mul)):
        factors = np.linspace(0, 3, x.shape[axis], dtype=np.float32)
        expected = csrnorm.axis_mul_or_truediv(x, factors, axis, op, allow_divide_by_zero=False)
        for given in (factors, da.from_array(factors, chunks=33)):
            lazy = csrnorm.axis_mul_or_truediv(chunked(x, 64, 40), given, axis, op, allow_divide_by_zero=False)
            assert isinstance(lazy, da.Array)
            assert_same_bits(lazy.compute(), expected)
    with pytest.raises(TypeError, match="out"):
        csrnorm.axis_mul_or_truediv(chunked(x, 64), factors, 1, mul, out=x)
    with pytest.raises(ValueError, match="scaling_array has 3 entries"):
        csrnorm.axis_mul_or_truediv(chunked(x, 64), factors[:3], 0, mul)


def test_selection():
    x = matrix()
    lazy = chunked(x, 64)
    genes = csrnorm.highly_expressed_genes(lazy, 0.2)
    assert isinstance(genes, da.Array)
    assert genes.compute().any()
    assert_same_bits(genes.compute(), csrnorm.highly_expressed_genes(x, 0.2))
    totals = csrnorm.axis_sum(lazy, axis=1)
    assert csrnorm.median_positive(totals) == csrnorm.median_positive(csrnorm.axis_sum(x, axis=1))


class Reads:
    """Counts how often a block is read."""

    def __init__(self):
        self.count = 0

    def __call__(self, block):
        self.count += block.shape[0] > 0
        return block


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [
        ({"target_sum": 1e4}, 0, 5),
        ({"target_sum": 1e4, "log1p": True}, 0, 5),
        ({}, 5, 10),
        ({"exclude_highly_expressed": True, "target_sum": 1e4}, 5, 10),
        ({"exclude_highly_expressed": True}, 10, 15),
    ],
    ids=str,
)
def test_only_totals_and_genes_are_computed(options, before, after):
    x, reads = matrix(), Reads()
    lazy = chunked(x, 82).map_blocks(reads, dtype=x.dtype, meta=x[:0])
    with dask.config.set(scheduler="synchronous"):
        result = _dask.normalize(lazy, **options).x
        assert reads.count == before
        result.compute()
        assert reads.count == after
        reads.count = 0
        for made in (csrnorm.pp.log1p(lazy), csrnorm.axis_sum(lazy, axis=0), csrnorm.highly_expressed_genes(lazy)):
            assert reads.count == 0
            assert isinstance(made, da.Array)


@pytest.mark.parametrize("kind", [sp.csr_matrix, np.asarray], ids=lambda kind: kind.__name__)
def test_blocks_are_not_changed(kind):
    """A block may have other users, and is here the same object each time."""
    x = matrix(kind, reals=True)
    lazy = chunked(x, CELLS).map_blocks(lambda block: x if block.shape[0] else block, dtype=x.dtype, meta=x[:0])
    for result in (_dask.normalize(lazy).x, _dask.normalize(lazy, 1e4).x, csrnorm.pp.log1p(lazy)):
        assert not np.array_equal(dense(result.compute()), dense(x))
        assert_same_bits(x, matrix(kind, reals=True))


def test_errors_come_at_once():
    lazy = chunked(matrix(), 64)
    for bad in ({"target_sum": 0}, {"target_sum": -1.0}, {"target_sum": np.nan}, {"base": 0, "log1p": True}):
        with pytest.raises(ValueError):
            _dask.normalize(lazy, **bad)
    with pytest.raises(TypeError):
        _dask.normalize(lazy, "middle")
    with pytest.raises(ValueError, match="max_fraction"):
        csrnorm.highly_expressed_genes(lazy, 1.5)


def test_without_a_positive_total():
    x = sp.csr_matrix((CELLS, GENES), dtype=np.float32)
    result = _dask.normalize(chunked(x, 64))
    assert np.isnan(result.target)
    assert_same_bits(result.x.compute(), x)
    assert_same_bits(result.factors.compute(), _core.normalize(x).factors)


def test_graphs_can_be_sent_and_hold_nothing_of_the_size_of_the_cells():
    x = matrix()
    lazy = da.map_blocks(
        lambda block_info=None: matrix()[slice(*block_info[None]["array-location"][0])],
        chunks=((10,) * (CELLS // 10), (GENES,)), dtype=x.dtype, meta=x[:0],
    )  # fmt: skip
    made = _dask.normalize(lazy, exclude_highly_expressed=True, max_fraction=0.2, log1p=True).x
    cloudpickle = pytest.importorskip("cloudpickle")
    layers = [layer for name, layer in made.dask.layers.items() if "_normalized" in name]
    assert layers
    sent = cloudpickle.dumps(layers)
    assert len(sent) < 8 * CELLS
    assert pickle.loads(sent)


def test_one_thread_per_block():
    seen = []

    def look(block):
        with csrnorm._library.one_thread():
            seen.append(csrnorm.get_num_threads())
        return block

    csrnorm.set_num_threads(2)
    try:
        chunked(matrix(), 64).map_blocks(look, meta=matrix()[:0]).compute()
        assert set(seen) == {1}
        assert csrnorm.get_num_threads() == 2
    finally:
        csrnorm.set_num_threads(None)


def unaligned(array):
    """The same array one byte off, as arrays lie in a message from another process."""
    buffer = np.empty(array.nbytes + 1, dtype=np.uint8)
    moved = buffer[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize("kind", [sp.csr_matrix, np.asarray], ids=lambda kind: kind.__name__)
def test_arrays_out_of_a_message(kind):
    x = matrix(kind, reals=True)
    moved = unaligned(x) if kind is np.asarray else sp.csr_matrix(x.shape, dtype=x.dtype)
    if kind is not np.asarray:
        moved.data, moved.indices, moved.indptr = unaligned(x.data), unaligned(x.indices), unaligned(x.indptr)
    totals = csrnorm.axis_sum(x, axis=1)
    assert_same_bits(csrnorm.axis_sum(moved, axis=1), totals)
    assert csrnorm.median_positive(unaligned(totals)) == csrnorm.median_positive(totals)
    expected = _core.normalize(x, exclude_highly_expressed=True, max_fraction=0.2, log1p=True, copy=True).x
    for copy in (True, False):
        got = _core.normalize(moved, exclude_highly_expressed=True, max_fraction=0.2, log1p=True, copy=copy).x
        assert_same_bits(got, expected)


def test_scanpy_accelerated():
    sc = pytest.importorskip("scanpy")
    x = matrix()
    memory = anndata.AnnData(x.copy())
    lazy = anndata.AnnData(chunked(x, 64))
    csrnorm.pp.normalize_total(memory)
    with csrnorm.accelerate_scanpy():
        sc.pp.normalize_total(lazy)
        sc.pp.log1p(lazy)
    assert any(name.startswith("_normalized") for name in lazy.X.dask.layers)
    assert any(name.startswith("_logarithm") for name in lazy.X.dask.layers)
    csrnorm.pp.log1p(memory)
    assert_same_bits(lazy.X.compute(), memory.X)
