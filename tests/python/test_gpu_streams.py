"""The package on a GPU beside cupy and torch: errors that the device finds, memory, streams, the end of a process, and
AnnData.
"""

import gc
import subprocess
import sys
import threading
from operator import mul

import numpy as np
import pytest
from conftest import bits, simulated, sparse
from gpu_arrays import MISSING, Cupy, Torch, cp, cps, gpu, package, same_bits  # noqa: F401

import csrnorm
from csrnorm import _cuda

# ---- Errors that the device finds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 100, 300])
def test_a_bad_indptr_is_an_error_and_the_context_lives(package, place):
    x = simulated()
    good = x.copy()
    x.indptr = x.indptr.copy()
    x.indptr[place] = -5 if place < 300 else x.nnz + 1000
    matrix = package.matrix(x)
    csrnorm.normalize(matrix, log1p=True)
    with pytest.raises(csrnorm.InvalidMatrixError, match="indptr"):
        csrnorm.synchronize()
    same_bits(package.host(package.values(matrix)), x.data)
    csrnorm.synchronize()  # said once
    with pytest.raises(csrnorm.InvalidMatrixError, match="indptr"):
        csrnorm.check(matrix)
    again = csrnorm.normalize(package.matrix(good), log1p=True)
    same_bits(package.host(package.values(again.x)), csrnorm.normalize(good, log1p=True).x.data)


@pytest.mark.parametrize("index", [-1, 700, 2**31 - 1])
def test_a_bad_index_is_an_error_and_the_context_lives(package, index):
    x = simulated()
    x.indices = x.indices.copy()
    x.indices[x.nnz // 2] = index
    matrix = package.matrix(x)
    with pytest.raises(csrnorm.InvalidMatrixError, match=f"is {index}; expected 0 to n_cols - 1 = 699"):
        csrnorm.check(matrix)
    csrnorm.axis_sum(matrix, axis=0)
    with pytest.raises(csrnorm.InvalidMatrixError):
        csrnorm.synchronize()
    csrnorm.check(package.matrix(simulated()))


def test_an_overflow_is_an_error():
    package = Torch()
    x = sparse.csr_matrix(np.full((2, 3), 2**62, np.int64))
    csrnorm.axis_sum(package.matrix(x), axis=1)
    with pytest.raises(csrnorm.SumOverflowError):
        csrnorm.synchronize()


# ---- Memory --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    """16 million values, 64 MB: more than what CUDA's pools take at a time."""
    rng = np.random.default_rng(4)
    n, length, genes = 16_000, 1_000, 20_000
    indices = (np.arange(length) * 20 + rng.integers(0, 20, (n, 1))).astype(np.int32).ravel()
    data = rng.integers(1, 50, n * length).astype(np.float32)
    return sparse.csr_matrix((data, indices, np.arange(n + 1, dtype=np.int32) * length), shape=(n, genes))


OPERATIONS = {
    "normalize": lambda matrix: csrnorm.normalize(matrix, log1p=True),
    "exclude": lambda matrix: csrnorm.normalize(matrix, exclude_highly_expressed=True),
    "log1p": lambda matrix: csrnorm.pp.log1p(matrix),
    "rows": lambda matrix: csrnorm.axis_sum(matrix, axis=1),
    "columns": lambda matrix: csrnorm.axis_sum(matrix, axis=0),
    "scale": lambda matrix: csrnorm.axis_mul_or_truediv(matrix, np.ones(16_000, np.float32), 0, mul, out=matrix),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_of_the_size_of_the_values_is_allocated(package, large, operation):
    matrix = package.matrix(large)
    OPERATIONS[operation](matrix)
    csrnorm.synchronize()
    cp.cuda.Device().synchronize()
    limit, free = large.data.nbytes // 4, cp.cuda.runtime.memGetInfo()[0]
    if isinstance(package, Torch):
        torch = package.torch
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        OPERATIONS[operation](matrix)
        taken = torch.cuda.max_memory_allocated() - before
    else:
        with _Allocations() as allocations:
            OPERATIONS[operation](matrix)
        taken = allocations.bytes
    cp.cuda.Device().synchronize()
    assert 0 < taken < limit or operation == "log1p"
    assert taken < limit
    assert free - cp.cuda.runtime.memGetInfo()[0] < limit


if not MISSING:

    class _Allocations(cp.cuda.MemoryHook):
        """Adds up what cupy's pool is asked for."""

        name = "allocations"
        bytes = 0

        def malloc_preprocess(self, device_id, size, mem_size):
            self.bytes += size


def test_memory_does_not_grow():
    matrix = Cupy().matrix(simulated())
    pool = cp.get_default_memory_pool()
    csrnorm.normalize(matrix, exclude_highly_expressed=True)
    cp.cuda.Device().synchronize()
    before = pool.used_bytes(), cp.cuda.runtime.memGetInfo()[0]
    for _ in range(500):
        csrnorm.normalize(matrix, exclude_highly_expressed=True)
    cp.cuda.Device().synchronize()
    assert pool.used_bytes() == before[0]
    assert before[1] - cp.cuda.runtime.memGetInfo()[0] < 1 << 20


# ---- Streams -------------------------------------------------------------------------------------------------------

_LATE = r"""
extern "C" __global__ void late(float *to, const float *from, long long n, long long cycles) {
  const long long begin = clock64();
  while (clock64() - begin < cycles) {
  }
  for (long long i = threadIdx.x; i < n; i += blockDim.x)
    to[i] = from[i];
}
"""


class _Late:
    """Fills an array on cupy's current stream, some 50 ms after the stream has come so far."""

    def __init__(self):
        self.kernel = cp.RawKernel(_LATE, "late")

    def __call__(self, to, given, cycles=80_000_000):
        self.kernel((1,), (1024,), (to, given, np.int64(given.size), np.int64(cycles)))


@pytest.fixture
def late():
    return _Late()


def warmed():
    """A matrix whose operation has been run, so that its kernels are loaded, and what they must give."""
    x = simulated()
    csrnorm.normalize(Cupy().matrix(x), log1p=True)
    cp.cuda.Device().synchronize()
    return x, csrnorm.normalize(x.copy(), log1p=True).x.data


def normalized_late(late, x, stream):
    """Normalize values that come late, on a stream; also whether the call came back before them."""
    matrix, counts = Cupy().matrix(x), cp.asarray(x.data)
    matrix.data[...] = 7
    cp.cuda.Device().synchronize()
    with stream:
        late(matrix.data, counts)
        csrnorm.normalize(matrix, log1p=True)
        at_once = not stream.done
    stream.synchronize()
    cp.cuda.Device().synchronize()
    return cp.asnumpy(matrix.data), at_once


def test_the_current_stream_of_cupy(late):
    x, expected = warmed()
    for stream in (cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(), cp.cuda.Stream.ptds, cp.cuda.Stream.null):
        normalized_late(late, x, stream)  # grows what the context has
        found, at_once = normalized_late(late, x, stream)
        same_bits(found, expected)
        assert at_once, "the call waited for the device"


def test_another_stream_would_be_noticed(late, monkeypatch):
    x, expected = warmed()
    monkeypatch.setattr(_cuda, "_current_stream", lambda package, device: None)
    found, _ = normalized_late(late, x, cp.cuda.Stream(non_blocking=True))
    assert not np.array_equal(found, expected)


def test_the_current_stream_of_torch():
    package = Torch()
    torch, x = package.torch, simulated()
    expected = csrnorm.normalize(x.copy(), log1p=True).x.data
    counts = package.array(x.data)
    for stream in (torch.cuda.Stream(), torch.cuda.default_stream()):
        for _ in range(2):
            matrix = package.matrix(x)
            matrix.values().fill_(7)
            torch.cuda.synchronize()
            with torch.cuda.stream(stream):
                torch.cuda._sleep(80_000_000)
                matrix.values().copy_(counts)
                result = csrnorm.normalize(matrix, log1p=True)
                at_once = not stream.query()
            stream.synchronize()
            same_bits(package.host(result.x.values()), expected)
        assert at_once, "the call waited for the device"


def test_streams_that_come_and_go(late):
    x, expected = warmed()
    for number in range(20):
        stream = cp.cuda.Stream(non_blocking=True)
        matrix, counts = Cupy().matrix(x), cp.asarray(x.data)
        cp.cuda.Device().synchronize()
        with stream:
            late(matrix.data, counts, 2_000_000)
            csrnorm.normalize(matrix, log1p=True)
        del stream  # destroyed, but for what the context keeps
        gc.collect()
        other = Cupy().matrix(x)
        csrnorm.normalize(other, log1p=True)
        csrnorm.synchronize()
        cp.cuda.Device().synchronize()
        same_bits(cp.asnumpy(matrix.data), expected)
        same_bits(cp.asnumpy(other.data), expected)


def test_two_streams_in_turns(late):
    x, expected = warmed()
    streams = [cp.cuda.Stream(non_blocking=True) for _ in range(2)]
    matrices, counts = [Cupy().matrix(x) for _ in range(6)], cp.asarray(x.data)
    cp.cuda.Device().synchronize()
    for number, matrix in enumerate(matrices):
        with streams[number % 2]:
            late(matrix.data, counts, 10_000_000 if number % 2 else 1_000)
            csrnorm.normalize(matrix, log1p=True)
    cp.cuda.Device().synchronize()
    for matrix in matrices:
        same_bits(cp.asnumpy(matrix.data), expected)


def test_two_threads_with_a_stream_each(late):
    x, expected = warmed()
    wrong = []

    def work():
        with cp.cuda.Stream(non_blocking=True) as stream:
            for _ in range(20):
                matrix, counts = Cupy().matrix(x), cp.asarray(x.data)
                late(matrix.data, counts, 100_000)
                csrnorm.normalize(matrix, log1p=True)
                stream.synchronize()
                wrong.append(not np.array_equal(cp.asnumpy(matrix.data), expected))
        csrnorm.synchronize()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 40


# ---- Between packages, and at the end of a process -------------------------------------------------------------------


def test_one_buffer_of_torch_and_cupy():
    package = Torch()
    x = simulated()
    expected = csrnorm.normalize(x.copy(), 100).x.data
    values = package.array(x.data)
    matrix = Cupy().matrix(x)
    matrix.data = cp.from_dlpack(values)
    assert matrix.data.data.ptr == values.data_ptr()
    package.torch.cuda.synchronize()
    csrnorm.normalize(matrix, 100)
    cp.cuda.Device().synchronize()
    same_bits(package.host(values), expected)


def test_sparse_arrays_of_cupy():
    if not hasattr(cps, "csr_array"):
        pytest.skip("this cupy has no csr_array")
    x = simulated()
    matrix = cps.csr_array(Cupy().matrix(x))
    assert csrnorm.normalize(matrix).x is matrix
    same_bits(cp.asnumpy(matrix.data), csrnorm.normalize(x).x.data)


_SCRIPT = """
import gc, sys
import cupy as cp, cupyx.scipy.sparse as cps, numpy as np, csrnorm
x = cps.csr_matrix(cp.asarray(np.float32([[1, 0, 3], [0, 2, 2]])))
with cp.cuda.Stream(non_blocking=True) as stream:
    csrnorm.normalize(x, 2)
    if sys.argv[1] == "wait":
        stream.synchronize()
        print(x.data.get().tolist())
"""


@pytest.mark.parametrize("how", ["wait", "leave"])
def test_a_process_ends_in_peace(how):
    done = subprocess.run([sys.executable, "-c", _SCRIPT, how], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == ("[0.5, 1.5, 1.0, 1.0]" if how == "wait" else "")


# ---- AnnData -------------------------------------------------------------------------------------------------------


@pytest.fixture
def anndata():
    return pytest.importorskip("anndata")


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize("exclude", [False, True])
def test_anndata(anndata, layout, exclude):
    x = simulated().asformat(layout)
    options = {"exclude_highly_expressed": exclude, "max_fraction": 0.1, "key_added": "n", "log1p": True}
    host = anndata.AnnData(x.tocsr(copy=True))
    csrnorm.pp.normalize_total(host, **options)
    device = anndata.AnnData(Cupy().matrix(x))
    where = device.X.data.data.ptr
    csrnorm.pp.normalize_total(device, **options)
    assert device.X.data.data.ptr == where and device.X.format == layout
    assert np.array_equal(bits(device.X.get()), bits(host.X))
    assert np.array_equal(device.obs["n"], host.obs["n"])
    assert device.uns["log1p"] == host.uns["log1p"]


def test_anndata_of_dense_arrays_copies_and_layers(anndata):
    x = simulated()
    expected = csrnorm.normalize(x.copy(), 50).x
    device = anndata.AnnData(cp.asarray(x.toarray()), layers={"other": Cupy().matrix(x)})
    made = csrnorm.pp.normalize_total(device, target_sum=50, copy=True)
    assert np.array_equal(cp.asnumpy(device.X), x.toarray())
    assert np.array_equal(cp.asnumpy(made.X), expected.toarray())
    found = csrnorm.pp.normalize_total(device, target_sum=50, layer="other", inplace=False)
    assert np.array_equal(found["X"].get().toarray(), expected.toarray())
    assert np.array_equal(device.layers["other"].get().toarray(), x.toarray())
    csrnorm.pp.normalize_total(device, target_sum=50, layer="other")
    csrnorm.pp.log1p(device, layer="other")
    assert np.array_equal(device.layers["other"].get().toarray(), csrnorm.pp.log1p(expected.copy()).toarray())
    view = device[:100]
    with pytest.warns(UserWarning, match="view"):
        csrnorm.pp.normalize_total(view, target_sum=50)
    assert np.array_equal(cp.asnumpy(view.X), expected.toarray()[:100])


def test_scanpy_accelerated(anndata):
    scanpy = pytest.importorskip("scanpy")
    x = simulated()
    expected = csrnorm.normalize(x.copy(), 1e4, log1p=True).x
    device = anndata.AnnData(Cupy().matrix(x))
    with csrnorm.accelerate_scanpy():
        scanpy.pp.normalize_total(device, target_sum=1e4)
        scanpy.pp.log1p(device)
    assert np.array_equal(bits(device.X.get()), bits(expected))
