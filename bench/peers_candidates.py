"""Who is compared, and what each of them does for an operation: as its users write it, on the same arrays.

A candidate has `operations`: for each of OPERATIONS that it offers a function of its argument, which is what is timed.
`argument` makes that argument from a matrix whose values may be overwritten, outside the timed region. What such a
function returns is the result; where it returns None, the values of the matrix are. A candidate that this machine
lacks raises ImportError, whose sentence the report shows.
"""

import contextlib
import importlib
import warnings

import numpy as np

TARGET = 1e4

#: operation -> (bytes it must move per stored float32 value, what it is measured against, what it does). The floor is
#: one read (4) or one read and one write (8), plus a read for what has to be known before: the totals, the genes.
OPERATIONS = {
    "normalize_fixed": (8, "scale", "every cell to 10,000"),
    "normalize_median": (12, "scale", "every cell to the median total"),
    "log1p": (8, "scale", "log(1 + x)"),
    "normalize_fixed_log1p": (8, "scale", "to 10,000, then log(1 + x)"),
    "normalize_median_log1p": (12, "scale", "to the median total, then log(1 + x)"),
    "normalize_median_exclude": (20, "scale", "to the median, without highly expressed genes"),
    "row_sums": (4, "sum", "total of every cell"),
    "column_sums": (8, "sum", "total of every gene"),
}


class Candidate:
    """What the candidates share; arrays in host memory."""

    name = ""
    device = "cpu"
    #: Largest relative error that counts as the same result, in units of float32's last place; 0: the same bits.
    tolerance = 16

    def __init__(self, threads):
        self.version = self.load(threads)
        self.operations = self.tasks()

    def argument(self, matrix):
        return matrix

    def synchronize(self):
        """Waits for what a call may have left under way."""


class OnAnnData(Candidate):
    """Functions that take an AnnData; it is made once for a matrix, since the names of its cells take seconds."""

    tolerance = 0

    def argument(self, matrix):
        from anndata import AnnData

        if getattr(self, "adata", None) is None or self.adata.shape != matrix.shape:
            self.adata = AnnData(matrix)
        self.adata.X = matrix
        self.adata.uns.clear()
        return self.adata


class Csrnorm(OnAnnData):
    name = "csrnorm"

    def load(self, threads):
        import csrnorm

        self.module, self.pp = csrnorm, csrnorm.pp
        csrnorm.set_num_threads(threads)
        return csrnorm.build_info()

    def normalize(self, **options):
        return lambda adata: self.pp.normalize_total(adata, **options)

    def tasks(self):
        return {
            "normalize_fixed": self.normalize(target_sum=TARGET),
            "normalize_median": self.normalize(),
            "log1p": lambda adata: self.pp.log1p(adata),
            "normalize_fixed_log1p": self.normalize(target_sum=TARGET, log1p=True),
            "normalize_median_log1p": self.normalize(log1p=True),
            "normalize_median_exclude": self.normalize(exclude_highly_expressed=True),
            "row_sums": lambda adata: self.module.axis_sum(adata.X, axis=1),
            "column_sums": lambda adata: self.module.axis_sum(adata.X, axis=0),
        }


def in_two_calls(pp, target=None):
    def run(adata):
        pp.normalize_total(adata, target_sum=target)
        pp.log1p(adata)

    return run


def tasks_of_pp(pp):
    """What scanpy's `pp` and those made after it do on an AnnData."""
    return {
        "normalize_fixed": lambda adata: pp.normalize_total(adata, target_sum=TARGET),
        "normalize_median": lambda adata: pp.normalize_total(adata),
        "log1p": lambda adata: pp.log1p(adata),
        "normalize_fixed_log1p": in_two_calls(pp, TARGET),
        "normalize_median_log1p": in_two_calls(pp),
    }


class CsrnormTwoCalls(Csrnorm):
    """scanpy's API as it is: normalize_total, then log1p."""

    name = "csrnorm, two calls"

    def tasks(self):
        return {
            "normalize_fixed_log1p": in_two_calls(self.pp, TARGET),
            "normalize_median_log1p": in_two_calls(self.pp),
        }


class Scanpy(OnAnnData):
    name = "scanpy"

    def load(self, threads):
        import numba
        import scanpy

        numba.set_num_threads(threads)
        self.pp = scanpy.pp
        return f"scanpy {scanpy.__version__}, numba {numba.__version__}"

    def tasks(self):
        return tasks_of_pp(self.pp) | {
            "normalize_median_exclude": lambda adata: self.pp.normalize_total(adata, exclude_highly_expressed=True),
        }


def scipy_normalize(matrix, target=None, log1p=False):
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    factors = totals / np.float32(target or np.median(totals))
    matrix.data /= np.repeat(factors, np.diff(matrix.indptr))
    if log1p:
        np.log1p(matrix.data, out=matrix.data)


class Scipy(Candidate):
    """One thread, as numpy and scipy are."""

    name = "scipy"
    tolerance = 1000  # float32 sums

    def load(self, threads):
        import scipy

        return f"scipy {scipy.__version__}, numpy {np.__version__}"

    def tasks(self):
        return {
            "normalize_fixed": lambda matrix: scipy_normalize(matrix, TARGET),
            "normalize_median": scipy_normalize,
            "log1p": lambda matrix: np.log1p(matrix.data, out=matrix.data),
            "normalize_fixed_log1p": lambda matrix: scipy_normalize(matrix, TARGET, log1p=True),
            "normalize_median_log1p": lambda matrix: scipy_normalize(matrix, log1p=True),
            "row_sums": lambda matrix: np.asarray(matrix.sum(axis=1)).ravel(),
            "column_sums": lambda matrix: np.asarray(matrix.sum(axis=0)).ravel(),
        }


class ScikitLearn(Candidate):
    """inplace_csr_row_scale, with the totals from scipy; its normalize(norm="l1") takes about twice as long."""

    name = "scikit-learn"
    tolerance = 1000

    def load(self, threads):
        import sklearn
        from sklearn.utils.sparsefuncs import inplace_csr_row_scale

        self.scale = inplace_csr_row_scale
        return f"scikit-learn {sklearn.__version__}"

    def normalize(self, target):
        def run(matrix):
            totals = np.asarray(matrix.sum(axis=1)).ravel()
            self.scale(matrix, np.float32(target or np.median(totals)) / totals)

        return run

    def tasks(self):
        return {"normalize_fixed": self.normalize(TARGET), "normalize_median": self.normalize(None)}


class FastArrayUtils(Candidate):
    """scanpy's own sums; the package has no scaling."""

    name = "fast-array-utils"
    tolerance = 1000

    def load(self, threads):
        from importlib.metadata import version

        stats = importlib.import_module("fast_array_utils.stats")
        self.sum = stats.sum
        return f"fast-array-utils {version('fast-array-utils')}"

    def tasks(self):
        return {
            "row_sums": lambda matrix: np.asarray(self.sum(matrix, axis=1)).ravel(),
            "column_sums": lambda matrix: np.asarray(self.sum(matrix, axis=0)).ravel(),
        }


# ---- Where there is a GPU ------------------------------------------------------------------------------------------


class OnDevice(Candidate):
    """Arrays in the memory of the first GPU; cupy's stream; the time is taken when the device has come to the end."""

    device = "gpu"

    def load(self, threads):
        self.cupy = cupy = importlib.import_module("cupy")
        self.sparse = importlib.import_module("cupyx.scipy.sparse")
        with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
            if cupy.cuda.runtime.getDeviceCount():
                return self.load_more()
        raise ImportError("no GPU")

    def argument(self, matrix):
        """The matrix on the device; only the values travel when the structure is there already."""
        cupy, kept = self.cupy, getattr(self, "kept", None)
        if kept is None or kept.shape != matrix.shape or kept.nnz != matrix.nnz:
            kept = self.sparse.csr_matrix(matrix.shape, dtype=matrix.dtype)
            kept.indices, kept.indptr = cupy.asarray(matrix.indices), cupy.asarray(matrix.indptr)
            self.kept = kept
        kept.data = cupy.asarray(matrix.data)
        self.synchronize()
        return kept

    def synchronize(self):
        self.cupy.cuda.Device().synchronize()

    def rooflines(self, size):
        """cupy's x *= c in place and its sum, on an array of its own."""
        values = self.cupy.arange(size, dtype=self.cupy.float32)

        def scale(_):
            self.cupy.multiply(values, self.cupy.float32(1.0000001), out=values)
            self.synchronize()

        def total(_):
            values.sum()
            self.synchronize()

        scale(None)
        total(None)
        return {"gpu scale": scale, "gpu sum": total}

    def release(self):
        """Gives back what cupy keeps for later; what is held after a call then tells the most that it had."""
        self.cupy.get_default_memory_pool().free_all_blocks()

    def held(self):
        """Bytes of the device's memory that are taken, by whomever."""
        free, total = self.cupy.cuda.runtime.memGetInfo()
        return total - free


class Cupy(OnDevice):
    name = "cupy"
    tolerance = 1000

    def load_more(self):
        return f"cupy {self.cupy.__version__}"

    def normalize(self, target=None, log1p=False):
        cupy = self.cupy

        def run(matrix):
            totals = matrix.sum(axis=1).ravel()
            factors = (totals / cupy.float32(target or float(cupy.median(totals)))).astype(cupy.float32)
            rows = cupy.searchsorted(matrix.indptr, cupy.arange(matrix.nnz, dtype=cupy.int32), side="right") - 1
            matrix.data /= factors[rows]
            if log1p:
                cupy.log1p(matrix.data, out=matrix.data)

        return run

    def tasks(self):
        return {
            "normalize_fixed": self.normalize(TARGET),
            "normalize_median": self.normalize(),
            "log1p": lambda matrix: self.cupy.log1p(matrix.data, out=matrix.data),
            "normalize_fixed_log1p": self.normalize(TARGET, log1p=True),
            "normalize_median_log1p": self.normalize(log1p=True),
            "row_sums": lambda matrix: matrix.sum(axis=1).ravel(),
            "column_sums": lambda matrix: matrix.sum(axis=0).ravel(),
        }


class OnDeviceAnnData(OnDevice):
    def argument(self, matrix):
        return OnAnnData.argument(self, super().argument(matrix))


class RapidsSinglecell(OnDeviceAnnData):
    name = "rapids-singlecell"
    tolerance = 1000

    def load_more(self):
        rapids = importlib.import_module("rapids_singlecell")
        self.pp = rapids.pp
        return f"rapids-singlecell {rapids.__version__}"

    def tasks(self):
        return tasks_of_pp(self.pp)


class CsrnormOnDevice(OnDeviceAnnData):
    name = "csrnorm, GPU"
    tolerance = 0

    def load_more(self):
        import csrnorm

        self.module, self.pp = csrnorm, csrnorm.pp
        return csrnorm.build_info()

    normalize = Csrnorm.normalize
    tasks = Csrnorm.tasks


IN_PYTHON = (Csrnorm, CsrnormTwoCalls, Scanpy, Scipy, ScikitLearn, FastArrayUtils, CsrnormOnDevice, Cupy,
             RapidsSinglecell)
SEURAT = "Seurat"
NAMES = (*(kind.name for kind in IN_PYTHON), SEURAT)


def load(name, threads):
    """The candidate of that name; ImportError where there is none."""
    warnings.simplefilter("ignore")
    return next(kind for kind in IN_PYTHON if kind.name == name)(threads)
