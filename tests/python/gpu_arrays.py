"""What the tests on a GPU share: cupy and torch behind one face, and the reason where they cannot run.

Without cupy or a GPU everything is skipped, without torch what needs that; with CSRNORM_REQUIRE_CUDA=1 in the
environment the lack of a GPU is a failure.
"""

import os
from functools import lru_cache

import numpy as np
import pytest
from conftest import sparse

import csrnorm
from csrnorm import _cuda

cp = cps = None
try:
    import cupy as cp
    import cupyx.scipy.sparse as cps

    MISSING = None if cp.cuda.runtime.getDeviceCount() else "cupy finds no GPU"
except ImportError as error:
    MISSING = f"no cupy: {error}"
except RuntimeError as error:  # cupy's own, where there is no driver
    MISSING = f"cupy finds no GPU: {error}"
if not MISSING and "no CUDA" in csrnorm.build_info():
    MISSING = "this library has no CUDA backend"


@pytest.fixture(autouse=True)
def gpu():
    """Skip without a GPU; afterwards the context must be alive, and nothing may be left to complain of."""
    if MISSING:
        (pytest.fail if os.environ.get("CSRNORM_REQUIRE_CUDA") == "1" else pytest.skip)(MISSING)
    yield
    csrnorm.synchronize()
    assert int(cp.arange(10).sum()) == 45


class Cupy:
    """What the tests do with cupy's arrays and matrices."""

    #: Types of values in its sparse matrices.
    value_types = (np.bool_, np.float32, np.float64)

    def array(self, host):
        return cp.asarray(host)

    def host(self, array):
        return cp.asnumpy(array)

    def matrix(self, x, index=np.int32):
        made = getattr(cps, f"{x.format}_matrix")(x.shape, dtype=x.dtype)
        made.data = cp.asarray(x.data)
        made.indices, made.indptr = cp.asarray(x.indices.astype(index)), cp.asarray(x.indptr.astype(index))
        return made

    def parts(self, matrix):
        return matrix.indptr, matrix.indices, matrix.data

    def values(self, matrix):
        return matrix.data

    def pointer(self, array):
        return array.data.ptr


class Torch:
    """The same with torch's tensors."""

    value_types = (np.bool_, np.uint8, np.int32, np.int64, np.float32, np.float64)

    def __init__(self):
        self.torch = pytest.importorskip("torch")
        if not self.torch.cuda.is_available():
            pytest.skip("torch finds no GPU")

    def array(self, host):
        return self.torch.as_tensor(np.ascontiguousarray(host)).cuda()

    def host(self, array):
        return array.cpu().numpy()

    def matrix(self, x, index=np.int32):
        make = getattr(self.torch, f"sparse_{x.format}_tensor")
        parts = (self.array(part) for part in (x.indptr.astype(index), x.indices.astype(index), x.data))
        return make(*parts, size=x.shape)

    def parts(self, matrix):
        return _cuda._parts(matrix)

    def values(self, matrix):
        return matrix.values()

    def pointer(self, array):
        return array.data_ptr()


@pytest.fixture(params=[Cupy, Torch])
def package(request, gpu):
    return request.param()


@lru_cache
def _reals(dtype):
    """Values of both signs and many magnitudes, in rows of very different lengths: none, one, above 4,096."""
    rng = np.random.default_rng(3)
    lengths = np.concatenate((rng.integers(0, 300, 200), [0, 1, 5000, 9000, 0]))
    columns = [np.sort(rng.choice(9000, n, replace=False)) for n in lengths]
    data = (rng.standard_normal(lengths.sum()) * np.exp(rng.uniform(-8, 8, lengths.sum()))).astype(dtype)
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    return sparse.csr_matrix((data, np.concatenate(columns), indptr), shape=(lengths.size, 9000))


def reals(dtype=np.float32):
    """Return such a matrix of the caller's own."""
    return _reals(dtype).copy()


def same_bits(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()
