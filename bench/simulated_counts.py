"""Realistic counts for the comparisons, made in memory from a fixed seed; and what machine they ran on.

Row lengths are log-normal, gene detection is skewed and values follow the curve of `csrnorm bench`, which
was fitted to PBMC counts: the speed of the candidates depends on all three.
"""

import platform

import numpy as np
import scipy.sparse as sp


def row_lengths(rng, n_rows, n_cols, nnz):
    """Log-normal, adding up to nnz, none above n_cols."""
    share = rng.lognormal(0, 0.45, n_rows)
    lengths = np.minimum(np.floor(share / share.sum() * nnz).astype(np.int64), n_cols)
    while (left := nnz - lengths.sum()) > 0:
        room = np.flatnonzero(lengths < n_cols)[:left]
        lengths[room] += 1
    return lengths


def gene_quantiles(rng, n_cols, mean_length, size=1 << 16):
    """The gene at each quantile of the stored values: log-normal abundances, each gene at most once a cell."""
    weights = rng.lognormal(0, 2.0, n_cols)
    low, high = 0.0, 1.0
    mean_length = min(mean_length, 0.99 * n_cols)
    while -np.expm1(-high * weights).sum() < mean_length:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if -np.expm1(-middle * weights).sum() < mean_length else (low, middle)
    cumulative = np.cumsum(-np.expm1(-high * weights))
    return np.minimum(np.searchsorted(cumulative / cumulative[-1], (np.arange(size) + 0.5) / size), n_cols - 1)


def count_quantiles(size=1 << 16):
    """The count at each quantile: the curve of `csrnorm bench`, fitted to PBMC counts."""
    k = np.arange(1, 2000)
    above = 0.109 * np.exp((1 - k) / 0.6) + 0.124 * np.exp((1 - k) / 3.4) + 0.085 * np.exp((1 - k) / 13.3)
    return (1 + np.searchsorted(-above, -(1 - (np.arange(size) + 0.5) / size))).astype(np.float32)


def simulate(n_rows, n_cols, nnz, seed):
    rng = np.random.default_rng(seed)
    lengths = row_lengths(rng, n_rows, n_cols, nnz)
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    genes, counts = gene_quantiles(rng, n_cols, nnz / n_rows), count_quantiles()
    indices, data = np.empty(nnz, np.int32), np.empty(nnz, np.float32)
    step = max(1, 4_000_000 * n_rows // max(nnz, 1))
    for first in range(0, n_rows, step):
        own = lengths[first:first + step]
        begin, end = indptr[first], indptr[first] + own.sum()
        row = np.repeat(np.arange(own.size), own)
        place = np.arange(end - begin) - np.repeat(indptr[first:first + own.size] - begin, own)
        length = own[row]
        gene = genes[((place + rng.random(end - begin)) * (genes.size / length)).astype(np.int64)]
        # A gene drawn twice moves on to the next; the offset keeps rows apart in one running maximum.
        offset = row * (2 * n_cols + 2)
        gene = np.maximum.accumulate(gene - place + offset) - offset + place
        indices[begin:end] = np.minimum(gene, n_cols - length + place)
        data[begin:end] = counts[rng.integers(0, counts.size, end - begin)]
    return sp.csr_matrix((data, indices, indptr), shape=(n_rows, n_cols))


def share_arrays(like, data):
    """A matrix with other values on the same structure, without the cost of checking it again."""
    matrix = sp.csr_matrix(like.shape, dtype=np.float32)
    matrix.data, matrix.indices, matrix.indptr = data, like.indices, like.indptr
    return matrix


def processor():
    """The model name of the processor, as the kernel gives it."""
    with open("/proc/cpuinfo") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
