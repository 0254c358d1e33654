"""Dask arrays of cells x genes in chunks of rows: lazy in, lazy out, on whatever scheduler the caller has chosen.

Each block goes through the functions for matrices in memory, so results have the same bits. What one block has to know
of the others (the target, the excluded genes) is computed when the function is called; it is small, and is all that is
computed then: the blocks themselves are read again later, so that none has to be kept meanwhile. The graph of the
matrix holds nothing of the size of the cells (that of the factors does, where they have been computed), and none holds a
context: the functions that run in a worker are plain functions of this
module, and contexts are made by the thread that needs one.

Names for other modules of the package: ``is_dask``, and by the names and parameters that they have for matrices in
memory ``normalize``, ``log1p``, ``axis_sum``, ``axis_mul_or_truediv``, ``median_positive``, ``highly_expressed``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _axis, _core, _cuda, _dense
from ._arrays import layout, result_dtype
from ._library import Target, one_thread, synchronize


def is_dask(x: Any) -> bool:
    """Say whether `x` is a Dask array, without importing Dask."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(x, module.Array)


def handles(x: Any) -> bool:
    """Say whether the functions here work on the Dask array `x`, by what its blocks are."""
    try:
        if not _cuda.is_device(x._meta):
            layout(x._meta)
        result_dtype(x.dtype)
    except TypeError:
        return False
    return x.ndim == 2


# ---- Shapes --------------------------------------------------------------------------------------------------------


def _whole_rows(x: Any) -> Any:
    """Return `x` in chunks of whole rows."""
    if x.ndim != 2:
        raise ValueError(f"x has {x.ndim} dimensions, expected 2")
    return x if x.numblocks[1] == 1 else x.rechunk({1: -1})


def _meta(x: Any, dtype: Any) -> Any:
    """Return an empty block like those of the result: in host memory CSC becomes CSR."""
    meta = x._meta
    if getattr(meta, "format", None) == "csc" and not _cuda.is_device(meta):
        meta = meta.tocsr()
    return meta.astype(dtype)


def _per_row(x: Any, function: Callable, dtype: Any, **options: Any) -> Any:
    """Return a lazy vector with one number per row."""
    return x.map_blocks(function, drop_axis=1, dtype=dtype, meta=np.empty(0, dtype=dtype), **options)


def _per_block(x: Any, function: Callable, dtype: Any, **options: Any) -> Any:
    """Return a lazy array with one row per block and one number per column."""
    return x.map_blocks(
        function, chunks=((1,) * x.numblocks[0], x.chunks[1]), dtype=dtype, meta=np.empty((0, 0), dtype=dtype), **options
    )


def _once(value: Any) -> Any:
    """Return `value` as one node of a graph, which all blocks share."""
    from dask import delayed

    return delayed(value, pure=True)


# ---- What runs on one block, in a worker ---------------------------------------------------------------------------
# A worker runs as many blocks at a time as it has threads, so each gets one thread of the library.


def _by_rows(block: Any) -> Any:
    """Return a CSC block as CSR, which it becomes: sums of its columns would have other bits."""
    is_csc = getattr(block, "format", None) == "csc" and not _cuda.is_device(block)
    return _core.csc_to_csr(block) if is_csc else block


def _row_totals(block: Any, excluded: np.ndarray | None = None) -> np.ndarray:
    if _cuda.is_device(block):
        return _cuda.row_totals(block, excluded)
    with one_thread():
        return _core.row_totals(_by_rows(block), excluded)


def _on_host(values: Any) -> np.ndarray:
    """Return what one block has found in host memory, where that of all blocks is put together."""
    if not _cuda.is_device(values):
        return np.asarray(values)
    synchronize()  # what went wrong on the device is an error of this block
    return _cuda.on_host(values)


def _done(block: Any) -> Any:
    """Return a block when the work on it is done: what went wrong on a device is an error of this block."""
    if _cuda.is_device(block):
        synchronize()
    return block


def _row_sums(block: Any, kind: Any) -> np.ndarray:
    with one_thread():
        return _on_host(_axis.axis_sum(block, axis=1, dtype=kind))


def _column_sums(block: Any) -> np.ndarray:
    with one_thread():
        return _on_host(_axis.axis_sum(block, axis=0))[None, :]


def _marked(block: Any, max_fraction: float) -> np.ndarray:
    with one_thread():
        return _on_host(_axis.highly_expressed_genes(_by_rows(block), max_fraction))[None, :]


def _factors(block: Any, target: float, kind: np.dtype, excluded: np.ndarray | None = None) -> np.ndarray:
    return _factors_of(_row_totals(block, excluded), target, kind)


def _normalized(
    block: Any, target: float, log1p: bool, base: float | None, excluded: np.ndarray | None = None, own: bool = True
) -> Any:
    """Normalize a block to a target. `own`: the target is the caller's number, and the totals are taken on the way."""
    if _cuda.is_device(block):
        return _done(_normalized_on_device(_cuda.copied(block), target, log1p, base, excluded))
    given, block = block, _by_rows(block)
    copy = block is given  # a block may have other users: never in place
    with one_thread():
        if own and excluded is None:
            return _core.normalize(block, target, log1p=log1p, base=base, copy=copy).x
        totals = _core.row_totals(block, excluded)
        return _core.normalize_with(block, totals, target, log1p=log1p, base=base, copy=copy).x


def _normalized_on_device(
    block: Any, target: float, log1p: bool, base: float | None, excluded: np.ndarray | None
) -> Any:
    if np.isnan(target):  # no cell has counts
        return _cuda.log1p(block, base) if log1p else block
    if excluded is not None:
        return _cuda.normalize_with(block, _cuda.row_totals(block, excluded), target, log1p=log1p, base=base)
    return _cuda.normalize(
        block, target, exclude_highly_expressed=False, max_fraction=0.05, log1p=log1p, base=base
    ).x


def _logarithm(block: Any, base: float | None, kind: Any) -> Any:
    if _cuda.is_device(block):
        return _done(_cuda.log1p(_cuda.copied(block), base))
    with one_thread():
        return _core.log1p(block, base=base, copy=True, dtype=kind)


def _scaled(block: Any, factors: np.ndarray, axis: int, op: Callable, allow_divide_by_zero: bool) -> Any:
    with one_thread():
        return _done(_axis.axis_mul_or_truediv(block, factors, axis, op, allow_divide_by_zero=allow_divide_by_zero))


# ---- Normalization -------------------------------------------------------------------------------------------------


def _factors_of(totals: np.ndarray, target: float, dtype: np.dtype) -> np.ndarray:
    """total / target as the library divides them; 0 where there is no target."""
    if np.isnan(target):
        return np.zeros(totals.shape, dtype=dtype)
    kind = result_dtype(dtype)  # float16 is divided in float32, as in memory
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return (totals.astype(kind) / kind.type(target)).astype(dtype, copy=False)


def normalize(
    x: Any,
    target_sum: float | str | None = None,
    *,
    exclude_highly_expressed: bool = False,
    max_fraction: float = 0.05,
    log1p: bool = False,
    base: float | None = None,
    copy: bool = True,
) -> _core.Normalized:
    """Scale each cell to the same total; matrix and factors of the result are lazy, target and excluded genes are not.

    A target that is not a number takes one computation of the totals, exclusion one of the excluded genes. `copy` is
    for the signature: a Dask array is never changed.
    """
    x = _whole_rows(x)
    kind, target = _core.parse_target(target_sum)
    _core.log_base(base)
    if log1p:
        _check_base(base)
    dtype = _values_dtype(x)
    shared, excluded = {}, None
    if exclude_highly_expressed:
        excluded = highly_expressed(x, max_fraction).compute()
        shared = {"excluded": _once(excluded)}
    own = kind == Target.TARGET_FIXED
    if own:
        _check_target(target)
        factors = _per_row(x, _factors, dtype, target=target, kind=dtype, **shared)
    else:
        totals = _per_row(x, _row_totals, np.dtype(np.float64), **shared).compute()
        target = _core.target_of(totals, kind)
        factors = _as_dask(_factors_of(totals, target, dtype), x.chunks[0])
    result = x.map_blocks(
        _normalized, target=target, log1p=log1p, base=base, own=own, dtype=dtype, meta=_meta(x, dtype), **shared
    )
    return _core.Normalized(result, factors, excluded, target)


def _check_target(target: float) -> None:
    """Let the library refuse a target now that it would refuse in every block later."""
    _core.normalize(np.empty((0, 0), dtype=np.float32), target)


def _check_base(base: float | None) -> None:
    """Let the library refuse a base now that it would refuse in every block later."""
    _core.log1p(np.zeros((1, 1), dtype=np.float32), base=base)


def _values_dtype(x: Any) -> np.dtype:
    """Return the type of normalized values, which in dense blocks may be float16."""
    return _dense.values_dtype(x.dtype) if isinstance(x._meta, np.ndarray) else result_dtype(x.dtype)


def log1p(x: Any, *, base: float | None = None, copy: bool = True, dtype: Any = None) -> Any:
    """Return log(1 + x), lazily; integers become `dtype` (float64, as scanpy, unless given)."""
    _check_base(base)
    result_dtype(x.dtype)
    wanted = x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.dtype(np.float64 if dtype is None else dtype)
    return x.map_blocks(_logarithm, base=base, kind=wanted, dtype=wanted, meta=x._meta.astype(wanted))


# ---- Sums and scaling ----------------------------------------------------------------------------------------------


def _identity(part: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    return part


def _add(parts: Any, axis: Any) -> Any:
    from dask.array import reduction

    return reduction(
        parts, _identity, _dense.add_exactly, combine=_dense.add_exactly, axis=axis, dtype=parts.dtype, concatenate=True,
        meta=np.empty((0,) * (0 if axis is None else 1), dtype=parts.dtype),
    )  # fmt: skip


def axis_sum(x: Any, *, axis: int | tuple[int, ...] | None = None, dtype: Any = None) -> Any:
    """Sum along an axis, lazily.

    Sums of rows have the bits that they have in memory, and so has every sum of integers, or of reals that are
    integers. Other reals are added block by block along the columns, in an order that the chunks alone decide.
    """
    x = _whole_rows(x)
    result_dtype(x.dtype)
    along = _axis._one_axis(axis)
    exact = np.dtype(_axis._EXACT[x.dtype.kind])
    if along == 1:
        kind = exact if dtype is None else np.dtype(dtype)
        return _per_row(x, _row_sums, kind, kind=kind)
    parts = _per_block(x, _column_sums, exact) if along == 0 else _per_row(x, _row_sums, exact, kind=exact)
    sums = _add(parts, along)
    return sums if dtype is None else sums.astype(dtype)


def axis_mul_or_truediv(
    x: Any,
    scaling_array: Any,
    axis: int,
    op: Callable[[Any, Any], Any],
    *,
    allow_divide_by_zero: bool = True,
    out: Any = None,
) -> Any:
    """Multiply or divide each row or column by its factor, lazily; `scaling_array` may be lazy too."""
    from dask.array import blockwise

    if out is not None:
        raise TypeError("`out` is not `None`: a Dask array cannot be changed in place")
    x = _whole_rows(x)
    factors: Any = scaling_array.ravel() if is_dask(scaling_array) else np.ravel(np.asarray(scaling_array))
    if axis not in (0, 1):
        raise ValueError(f"axis is {axis!r}, expected 0 or 1")
    if np.isnan(factors.size) or np.isnan(x.shape[axis]):
        if not is_dask(factors) or factors.numblocks[0] != x.numblocks[axis]:
            raise ValueError("x has chunks of unknown size, expected factors in the same chunks")
    elif factors.size != x.shape[axis]:
        raise ValueError(f"scaling_array has {factors.size} entries, expected {x.shape[axis]}")
    dtype = _axis.scaled_dtype(x, factors, op)
    factors = _as_dask(factors, x.chunks[axis])
    return blockwise(
        _scaled, "ij", x, "ij", factors, "ji"[1 - axis], axis=axis, op=op, allow_divide_by_zero=allow_divide_by_zero,
        dtype=dtype, meta=x._meta.astype(dtype),
    )  # fmt: skip


def _as_dask(vector: Any, chunks: tuple) -> Any:
    from dask.array import from_array

    if is_dask(vector):
        return vector if np.isnan(sum(chunks)) or np.isnan(vector.size) else vector.rechunk((chunks,))
    if any(np.isnan(size) for size in chunks):
        return from_array(vector, chunks=-1)
    return from_array(vector, chunks=(chunks,))


# ---- Selection -----------------------------------------------------------------------------------------------------


def median_positive(values: Any) -> float:
    """Return the median of the positive finite values, which are computed for it."""
    return _core.median_positive(np.asarray(values.compute()).ravel())


def highly_expressed(x: Any, max_fraction: float = 0.05) -> Any:
    """Return a lazy mask of the genes that hold more than `max_fraction` of the total of any cell."""
    if not 0 <= max_fraction <= 1:
        raise ValueError(f"max_fraction is {max_fraction}, expected a number between 0 and 1")
    x = _whole_rows(x)
    return _per_block(x, _marked, np.dtype(bool), max_fraction=float(max_fraction)).any(axis=0)
