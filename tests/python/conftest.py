"""What the tests of the Python package share: matrices, and what is skipped where a package or the data are missing."""

import os
from pathlib import Path

import numpy as np
import pytest

sparse = pytest.importorskip("scipy.sparse")


def simulated(n_cells=300, n_genes=700, seed=7, dtype=np.float32):
    """Counts as of single cells: most are zero, some genes are high, no cell is empty."""
    rng = np.random.default_rng(seed)
    means = rng.gamma(0.3, 1.5, n_genes) * rng.lognormal(0, 0.5, (n_cells, 1))
    means[:, :3] *= 40
    counts = rng.poisson(means)
    counts[:, 5] += 1
    return sparse.csr_matrix(counts.astype(dtype))


def dense(x):
    return x.toarray() if sparse.issparse(x) else np.asarray(x)


def bits(x):
    """The bits of the values, so that a difference of one ulp, or of the sign of zero, is one."""
    return dense(x).view({4: np.uint32, 8: np.uint64, 2: np.uint16}[x.dtype.itemsize])


@pytest.fixture(params=["csr", "csc", "dense", "column-major"])
def to_layout(request):
    return {
        "csr": sparse.csr_matrix,
        "csc": sparse.csc_matrix,
        "dense": dense,
        "column-major": lambda x: np.asfortranarray(dense(x)),
    }[request.param]


@pytest.fixture(scope="session")
def real_counts():
    folder = os.environ.get("CSRNORM_TEST_DATA")
    if not folder:
        pytest.skip("CSRNORM_TEST_DATA is not set: no real matrix")
    anndata = pytest.importorskip("anndata")
    return sparse.csr_matrix(anndata.read_h5ad(Path(folder) / "pbmc_facs.h5ad").X)
