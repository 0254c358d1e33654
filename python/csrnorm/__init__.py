"""csrnorm: normalization of sparse count matrices where they lie.

scanpy's ``normalize_total``, on counts to the bit, and ``log1p``, within 1 ulp of the true value, in the caller's buffers,
on all cores; and the sums, scalings and medians that they are made of.

>>> import numpy as np, scipy.sparse as sp, csrnorm
>>> counts = sp.csr_matrix(np.array([[1, 0, 3], [0, 2, 2], [0, 0, 0]], dtype=np.float32))
>>> csrnorm.axis_sum(counts, axis=1)
array([4., 4., 0.])
"""

from __future__ import annotations

from . import pp
from ._axis import axis_mul_or_truediv, axis_sum, check, highly_expressed_genes, median_positive, normalize
from ._library import (
    CsrnormError,
    DeviceError,
    InvalidArgumentError,
    InvalidMatrixError,
    NoDeviceError,
    NoMemoryError,
    NotBuiltError,
    SumOverflowError,
    UnsupportedError,
    get_num_threads,
    lib as _lib,
    set_num_threads,
    synchronize,
)
from ._scanpy import accelerate_scanpy

__version__: str = _lib.version().decode()


def build_info() -> str:
    """Return one line about the library: version, compiler, OpenMP, instruction sets, CUDA.

    Returns
    -------
    str
        The line.

    Examples
    --------
    >>> import csrnorm
    >>> csrnorm.build_info().startswith("csrnorm ")
    True
    """
    return _lib.build_info().decode()


__all__ = [
    "CsrnormError",
    "DeviceError",
    "InvalidArgumentError",
    "InvalidMatrixError",
    "NoDeviceError",
    "NoMemoryError",
    "NotBuiltError",
    "SumOverflowError",
    "UnsupportedError",
    "accelerate_scanpy",
    "axis_mul_or_truediv",
    "axis_sum",
    "build_info",
    "check",
    "get_num_threads",
    "highly_expressed_genes",
    "median_positive",
    "normalize",
    "pp",
    "set_num_threads",
    "synchronize",
]
