"""A real cluster of worker processes: a matrix in a file, larger than what a worker may hold, and a worker killed half
way. The result has to have the bits of the same matrix in memory, block by block.

The workers limit themselves: their nanny ends one that passes 95 % of its limit, which a test would notice.
"""

from __future__ import annotations

import hashlib
import os
import signal

import numpy as np
import pytest
import scipy.sparse as sp

import csrnorm

distributed = pytest.importorskip("dask.distributed")
anndata = pytest.importorskip("anndata")
h5py = pytest.importorskip("h5py")
experimental = pytest.importorskip("anndata.experimental")

CELLS, GENES, LENGTH = 100_000, 20_000, 600
BLOCK = 2_500
LIMIT = 448 << 20


def counts():
    """60 million counts: 480 MB in memory, more than a worker's limit."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(LENGTH // 2, LENGTH * 3 // 2, CELLS)
    lengths[::1000] = 0
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    nnz = int(indptr[-1])
    place = np.arange(nnz, dtype=np.int32) - np.repeat(indptr[:-1], lengths)
    indices = place * np.int32(GENES // (LENGTH * 3 // 2)) + rng.integers(0, 20, nnz, dtype=np.int32)
    data = (1 + rng.geometric(0.4, 1 << 16)).astype(np.float32)[rng.integers(0, 1 << 16, nnz, dtype=np.int32)]
    x = sp.csr_matrix((CELLS, GENES), dtype=np.float32)
    x.data, x.indices, x.indptr = data, indices, indptr
    return x


def digest(block):
    """One line for one block: what its arrays hold."""
    seen = hashlib.sha256()
    for part in (block.data, block.indices, block.indptr):
        seen.update(part.dtype.str.encode())
        seen.update(np.ascontiguousarray(part).view(np.uint8))
    return np.array([[seen.hexdigest()]])


def peak_memory():
    """The most that this process has had in memory; getrusage() would begin with what its parent had."""
    with open("/proc/self/status") as lines:
        return os.getpid(), next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("cluster") / "counts.h5ad"
    x = counts()
    assert x.data.nbytes + x.indices.nbytes > LIMIT
    anndata.AnnData(x).write_h5ad(path)
    return path, x


def in_memory(x):
    """The digests of the blocks of the matrix that was normalized in memory."""
    csrnorm.pp.normalize_total(anndata.AnnData(x), log1p=True)
    return [digest(x[first : first + BLOCK])[0, 0] for first in range(0, CELLS, BLOCK)]


def test_larger_than_a_worker_and_a_worker_killed(stored):
    path, x = stored
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, memory_limit=LIMIT, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        h5py.File(path, "r") as file,
    ):
        lazy = experimental.read_elem_lazy(file["X"], chunks=(BLOCK, GENES))
        adata = anndata.AnnData(lazy, obs={"cell": np.arange(CELLS)}, var={"gene": np.arange(GENES)})
        csrnorm.pp.normalize_total(adata, log1p=True)
        one_each = ((1,) * adata.X.numblocks[0], (1,))
        blocks = adata.X.map_blocks(digest, chunks=one_each, dtype="U64", meta=np.empty((0, 0), "U64"))
        futures = client.compute(blocks.to_delayed().ravel().tolist())
        before = client.run(os.getpid)
        for done, _ in enumerate(distributed.as_completed(futures), 1):
            if done == len(futures) // 3:
                os.kill(next(iter(before.values())), signal.SIGKILL)
        assert done == len(futures)
        digests = [result[0, 0] for result in client.gather(futures)]
        after = client.run(peak_memory)
    assert set(before.values()) - {pid for pid, _ in after.values()}, "no worker was killed"
    assert max(peak for _, peak in after.values()) < LIMIT
    assert digests == in_memory(x)
