"""Matrices that say that they lie in GPU memory, without a GPU: stand-ins of cupy and torch.

What can be seen here: that they are recognized, which pointers, device and stream reach the library, and that a library
without CUDA refuses them before it looks at anything. Not that a GPU computes; that needs one, and is for test_gpu.py.
"""

import contextlib
import gc
import sys
import types
import weakref
from operator import mul, truediv

import numpy as np
import pytest
from conftest import bits, simulated

import csrnorm
from csrnorm import _cuda, _library


#: The device on which everything lies; not the current one.
DEVICE = 3
#: Which devices have been made current, one within the other.
CURRENT = [0]


def on_its_device(host, **options):
    """An array as cupy makes it: where it was made belongs to the matrix, and its stream to that device."""
    assert CURRENT[-1] == DEVICE, "made on the device that is current, not on that of the matrix"
    return Array(host, **options)


class Array:
    """An array as cupy has it; its memory is the host's."""

    def __init__(self, host, read_only=False, strides=None):
        self.host, self.dtype, self.size, self.shape = host, host.dtype, host.size, host.shape
        self.device = types.SimpleNamespace(id=DEVICE)
        self.__cuda_array_interface__ = {
            "data": (host.ctypes.data, read_only), "typestr": host.dtype.str, "shape": host.shape,
            "strides": strides, "version": 3,
        }  # fmt: skip

    def get(self):
        return self.host

    def __mul__(self, number):
        return on_its_device(self.host * number)

    def copy(self):
        return on_its_device(self.host.copy())

    def astype(self, dtype):
        return on_its_device(self.host.astype(dtype))

    def ravel(self):
        return on_its_device(self.host.ravel())

    def reshape(self, *shape):
        return on_its_device(self.host.reshape(*shape))

    def sum(self):
        return on_its_device(np.asarray(self.host.sum()))


class Stream:
    """A stream as cupy has it: gone when nobody has it any more."""

    def __init__(self, ptr):
        self.ptr = ptr


def cupy_like(x, **options):
    """What cupyx.scipy.sparse.csr_matrix and csc_matrix show."""

    def made(host):
        on_its_device(host.data)
        return cupy_like(host, **options)

    return types.SimpleNamespace(
        format=x.format, shape=x.shape, ndim=2, dtype=x.dtype, data=Array(x.data, **options),
        indices=Array(x.indices), indptr=Array(x.indptr), copy=lambda: made(x.copy()),
        astype=lambda dtype: made(x.astype(dtype)),
    )  # fmt: skip


def torch_like(x):
    """What torch's sparse CSR and CSC tensors show."""
    class Layout:
        def __str__(self):
            return f"torch.sparse_{x.format}"

    offsets, indices = ("crow", "col") if x.format == "csr" else ("ccol", "row")
    tensor = types.SimpleNamespace(layout=Layout(), shape=x.shape, dtype=x.dtype, values=lambda: Array(x.data))
    tensor.clone = lambda: torch_like(x.copy())
    tensor.to = lambda dtype, copy: torch_like(x.astype(dtype))
    setattr(tensor, f"{offsets}_indices", lambda: Array(x.indptr))
    setattr(tensor, f"{indices}_indices", lambda: Array(x.indices))
    return tensor


@pytest.fixture(params=[cupy_like, torch_like])
def on_device(request):
    return request.param


@pytest.fixture
def stand_in(monkeypatch):
    """A package with a current stream; a context of the CPU in place of the GPU's; the streams that were set."""
    streams, last = [], {0: Stream(0x50), DEVICE: Stream(0x51)}

    @contextlib.contextmanager
    def device(number):
        CURRENT.append(number)
        try:
            yield
        finally:
            CURRENT.pop()

    package = types.ModuleType("stand_in")
    package.cuda = types.SimpleNamespace(get_current_stream=lambda: last[CURRENT[-1]], Device=device)
    package.empty = lambda size, dtype: on_its_device(np.full(size, 77).astype(dtype))
    package.arange = lambda size, dtype: on_its_device(np.arange(size, dtype=dtype))
    package.asarray = lambda values, dtype: on_its_device(np.array(getattr(values, "host", values), dtype=dtype))
    package.ascontiguousarray = lambda values: on_its_device(np.ascontiguousarray(values.host))
    package.last = last
    monkeypatch.setitem(sys.modules, "stand_in", package)
    monkeypatch.setattr(Array, "__module__", "stand_in.core")
    monkeypatch.setattr(_cuda, "context", lambda device, backend: _library.context())

    def call(name, *arguments, handle):
        if name == "context_set_stream":
            streams.append(arguments[0])
        else:
            _library.call(name, *arguments, handle=handle)

    monkeypatch.setattr(_cuda, "call", call)
    return streams


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_the_library_without_cuda_says_so(on_device, layout):
    if "no CUDA" not in csrnorm.build_info():
        pytest.skip("this library has the CUDA backend")
    x = simulated().asformat(layout)
    before = x.data.copy()
    with pytest.raises(csrnorm.NotBuiltError, match="no cuda backend"):
        csrnorm.pp.log1p(on_device(x))
    assert np.array_equal(x.data, before)


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("exclude", [False, True])
def test_in_place_on_the_current_stream(on_device, stand_in, layout, exclude):
    x = simulated().asformat(layout)
    options = {"exclude_highly_expressed": exclude, "max_fraction": 0.1, "log1p": True, "base": None}
    expected = csrnorm.normalize(x.copy(), 100, **options)
    device = on_device(x)
    result = csrnorm.normalize(device, 100, **options)
    assert result.x is device and stand_in == [0x51]
    assert np.array_equal(bits(x), bits(expected.x))
    assert np.array_equal(result.factors.get(), expected.factors)
    assert np.array_equal(result.excluded.get(), expected.excluded) if exclude else result.excluded is None
    again = csrnorm.pp.log1p(device)
    assert again is device and np.array_equal(bits(x), bits(csrnorm.pp.log1p(expected.x)))


def test_copies_on_the_device(on_device, stand_in):
    x = simulated()
    before = x.copy()
    device = on_device(x)
    for found, expected in (
        (csrnorm.pp.log1p(device, copy=True), csrnorm.pp.log1p(x, copy=True)),
        (csrnorm.normalize(device, 9, copy=True).x, csrnorm.normalize(x, 9, copy=True).x),
    ):
        assert found is not device
        values = found.data if on_device is cupy_like else found.values()
        assert np.array_equal(bits(values.host), bits(expected.data))
    assert np.array_equal(bits(x), bits(before))


def test_what_cannot_be_worked_on_is_refused(stand_in):
    x = simulated()
    with pytest.raises(ValueError, match="read-only"):
        csrnorm.pp.log1p(cupy_like(x, read_only=True))
    with pytest.raises(ValueError, match="not contiguous"):
        csrnorm.pp.log1p(cupy_like(x, strides=(8,)))
    with pytest.raises(TypeError, match="int32, expected float32 or float64"):
        csrnorm.pp.log1p(cupy_like(x.astype(np.int32)))


def test_parts_that_do_not_fit_are_refused(stand_in):
    x = cupy_like(simulated())
    x.indptr = Array(x.indptr.host[:-1])
    with pytest.raises(ValueError, match="indptr has 300 entries, expected 301"):
        csrnorm.pp.log1p(x)
    x = cupy_like(simulated())
    x.indices = Array(x.indices.host[:-1])
    with pytest.raises(ValueError, match="indices has"):
        csrnorm.pp.log1p(x)
    x.indices = Array(x.data.host)
    with pytest.raises(TypeError, match="indices is float32, expected 32-bit or 64-bit integers"):
        csrnorm.pp.log1p(x)


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_the_parts_of_normalization(stand_in, layout):
    x = simulated().asformat(layout)
    device = cupy_like(x.copy())
    for axis in (0, 1, -1, None):
        for dtype in (None, np.float32):
            expected = csrnorm.axis_sum(x, axis=axis, dtype=dtype)
            found = csrnorm.axis_sum(device, axis=axis, dtype=dtype).get()
            assert found.dtype == expected.dtype and np.array_equal(found, expected)
    assert np.array_equal(csrnorm.highly_expressed_genes(device, 0.1).get(), csrnorm.highly_expressed_genes(x, 0.1))
    csrnorm.check(device)
    for axis, op, kind in ((0, mul, np.float32), (1, truediv, np.float32), (0, truediv, np.float64)):
        factors = np.linspace(0.5, 2, x.shape[axis]).astype(kind)
        expected = csrnorm.axis_mul_or_truediv(x, factors, axis, op)
        for given in (factors, Array(factors)):
            made = csrnorm.axis_mul_or_truediv(device, given, axis, op)
            assert np.array_equal(made.data.host, expected.data) and made.data.host.dtype == expected.dtype
        assert np.array_equal(device.data.host, x.data)
    assert csrnorm.axis_mul_or_truediv(device, factors.astype(np.float32), 0, truediv, out=device) is device
    assert not np.array_equal(device.data.host, x.data)
    with pytest.raises(TypeError, match="float64, expected float32, as x is"):
        csrnorm.axis_mul_or_truediv(device, factors, 0, truediv, out=device)
    with pytest.raises(ValueError, match="300 entries, expected 700"):
        csrnorm.axis_mul_or_truediv(device, factors, 1, truediv)


def test_medians_on_the_device(stand_in):
    for values in (np.float32([3, 0, 1, 2, np.nan]), np.int32([4, 2]), np.array([-1.0]), np.empty(0)):
        found, expected = csrnorm.median_positive(Array(values)), csrnorm.median_positive(values)
        assert np.array_equal(found, expected, equal_nan=True)


def test_dense_arrays_on_the_device(stand_in):
    x = simulated().toarray()
    device = Array(x.copy())
    expected = csrnorm.normalize(x.copy(), "mean", log1p=True)
    result = csrnorm.normalize(device, "mean", log1p=True)
    assert result.x is device and np.array_equal(device.host, expected.x)
    assert np.array_equal(result.factors.host, expected.factors)
    made = csrnorm.normalize(Array(x), "mean", log1p=True, copy=True).x
    assert np.array_equal(made.host, expected.x) and np.array_equal(x, simulated().toarray())
    assert np.array_equal(csrnorm.axis_sum(Array(x), axis=1).host, csrnorm.axis_sum(x, axis=1))
    with pytest.raises(TypeError, match="dense array on a device, where only rows"):
        csrnorm.axis_sum(device, axis=0)
    with pytest.raises(ValueError, match="x is not contiguous"):
        csrnorm.pp.log1p(Array(x, strides=(4, 1200)))
    with pytest.raises(ValueError, match="x has 1 dimensions"):
        csrnorm.pp.log1p(Array(x[0]))
    with pytest.raises(TypeError, match="float16, expected float32, float64, bool"):
        csrnorm.axis_sum(Array(x.astype(np.float16)), axis=1)


def test_the_stream_lives_until_another_is_set(stand_in):
    package = sys.modules["stand_in"]
    first = package.last[DEVICE] = Stream(0x60)
    alive = weakref.ref(first)
    csrnorm.pp.log1p(cupy_like(simulated()))
    del first
    package.last[DEVICE] = Stream(0x61)
    gc.collect()
    assert alive() is not None, "the context orders its next work by it"
    csrnorm.pp.log1p(cupy_like(simulated()))
    gc.collect()
    assert alive() is None and stand_in == [0x60, 0x61]


def test_torch_finds_the_device_of_its_tensors_itself():
    def not_called(*_arguments):
        raise AssertionError("torch.cuda.Device is a type")

    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(current_stream=None, Device=not_called))
    with _cuda._on(torch, DEVICE):
        pass


def test_arrays_of_the_host_are_not_taken_for_a_device():
    assert not _cuda.is_device(simulated()) and not _cuda.is_device(np.ones((2, 2)))


def test_blocks_of_dask_on_a_device(stand_in):
    """As test_dask.py does for blocks in host memory: what the functions that run in a worker do with one on a device."""
    from csrnorm import _core, _dask

    x = simulated()
    kept = x.data.copy()
    block = cupy_like(x)
    totals, excluded = csrnorm.axis_sum(x, axis=1), csrnorm.highly_expressed_genes(x, 0.1)
    assert np.array_equal(_dask._row_totals(block), totals) and excluded.any()
    assert np.array_equal(_dask._row_totals(block, excluded), _core.row_totals(x, excluded))
    assert np.array_equal(_dask._row_sums(block, np.float32), totals.astype(np.float32))
    assert np.array_equal(_dask._column_sums(block), csrnorm.axis_sum(x, axis=0)[None])
    assert np.array_equal(_dask._marked(block, 0.1), csrnorm.highly_expressed_genes(x, 0.1)[None])
    target = csrnorm.median_positive(totals)
    for own in (True, False):
        made = _dask._normalized(block, target, True, 2.0, own=own)
        expected = _core.normalize(x, log1p=True, base=2.0, copy=True).x
        assert np.array_equal(bits(made.data.host), bits(expected.data))
    for layout in ("csr", "csc"):
        made = _dask._normalized(cupy_like(x.asformat(layout, copy=True)), target, True, 2.0, excluded, own=False)
        expected = _core.normalize_with(x, _core.row_totals(x, excluded), target, log1p=True, base=2.0, copy=True).x
        assert made.format == layout and np.array_equal(bits(made.data.host), bits(expected.asformat(layout).data))
    made = _dask._logarithm(block, None, np.float32)
    assert np.array_equal(bits(made.data.host), bits(_core.log1p(x, copy=True).data))
    assert np.array_equal(bits(_dask._normalized(block, np.nan, False, None, own=False).data.host), bits(kept))
    assert np.array_equal(bits(x.data), bits(kept)), "a block may have other users"


def test_errors_on_the_device_are_those_of_the_block(stand_in, monkeypatch):
    """What the device finds out is asked for before a block is given away, by every function that makes one."""
    from csrnorm import _dask

    def synchronize():
        raise csrnorm.InvalidMatrixError("an index is none")

    x = simulated()
    excluded = np.arange(x.shape[1]) < 3
    monkeypatch.setattr(_dask, "synchronize", synchronize)
    for work in (
        lambda block: _dask._normalized(block, 9.0, False, None),
        lambda block: _dask._normalized(block, 9.0, False, None, excluded, own=False),
        lambda block: _dask._normalized(block, np.nan, True, None, own=False),
        lambda block: _dask._logarithm(block, None, np.float32),
        lambda block: _dask._scaled(block, np.ones(x.shape[1], np.float32), 1, mul, True),
        lambda block: _dask._row_sums(block, np.float32),
        lambda block: _dask._column_sums(block),
        lambda block: _dask._marked(block, 0.1),
    ):
        with pytest.raises(csrnorm.InvalidMatrixError):
            work(cupy_like(x))


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_blocks_on_a_device_keep_their_layout(stand_in, layout):
    from csrnorm import _dask

    lazy = types.SimpleNamespace(_meta=cupy_like(simulated().asformat(layout)))
    with sys.modules["stand_in"].cuda.Device(DEVICE):
        assert _dask._meta(lazy, np.float32).format == layout


# ---- AnnData -------------------------------------------------------------------------------------------------------


def annotated(x, **places):
    """What normalize_total() looks at of an AnnData, which itself takes no stand-ins."""
    empty = {place: {} for place in ("layers", "obsm", "varm", "obsp", "varp", "uns")}
    return types.SimpleNamespace(**{"X": x, "raw": None, "is_view": False, "isbacked": False, **empty, **places})


@pytest.mark.parametrize("where", ["layers", "obsm", "varm", "obsp", "varp", "raw", "X"])
@pytest.mark.parametrize("shared", [True, False])
def test_another_array_of_the_same_buffer_keeps_its_values(stand_in, where, shared):
    """As test_unusual_anndata.py has it for the host."""
    x = simulated()
    mine, other = cupy_like(x), cupy_like(x if shared else x.copy())
    if where == "X":
        adata = annotated(other, layers={"mine": mine})
    else:
        place = types.SimpleNamespace(X=other) if where == "raw" else {"other": other}
        adata = annotated(mine, **{where: place})
    before, values = x.copy(), mine.data
    csrnorm.pp.normalize_total(adata, target_sum=9, layer="mine" if where == "X" else None)
    assert np.array_equal(mine.data.host, csrnorm.normalize(before, 9, copy=True).x.data)
    assert np.array_equal(other.data.host, before.data), "counts were lost"
    assert (mine.data is values) != shared, "in place where nobody else has the buffer"


def test_parts_of_one_buffer_share_it(stand_in):
    host = np.arange(24, dtype=np.float32)
    whole = Array(host)
    for part, shared in (
        (Array(host[8:]), True), (Array(host[8:].reshape(4, 4)), True), (Array(host[:0]), False),
        (Array(np.arange(24, dtype=np.float32)), False), (Array(host[::-1], strides=(-4,)), True),
    ):  # fmt: skip
        assert _cuda.share_values(whole, part) == _cuda.share_values(part, whole) == shared
    assert not _cuda.share_values(Array(host[:8]), Array(host[8:]))
    columns = Array(host.reshape(4, 6)[:, 1:2], strides=(24, 4))
    assert _cuda.share_values(columns, Array(host[18:20])) and not _cuda.share_values(columns, Array(host[20:]))
