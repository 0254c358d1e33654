"""The operations on one matrix in memory, CSR, CSC or dense: what the functions on AnnData and on Dask are made of.

Cells are rows of the matrix, also where it is CSC. Nothing here knows AnnData or scanpy.

Names for other modules of the package:

- ``row_totals(x, excluded=None)``: float64 total of each cell, without the genes of a boolean mask.
- ``median_positive(totals)``, ``mean_positive(totals)``: the target, NaN if no total is positive.
- ``highly_expressed(x, max_fraction)``: boolean mask of genes.
- ``target_of(totals, kind)``: one of those two.
- ``parse_target(target_sum)``: (``Target``, number) for None, "median", "mean" or a number.
- ``normalize(x, ...)``: everything; returns ``Normalized(x, factors, excluded, target)``.
- ``normalize_with(x, totals, target, ...)``: the second half, with totals and target given; the same result.
- ``log1p(x, base=None, copy=False, dtype=None)``: log(1 + x).
- ``csc_to_csr(x)``: scipy's conversion, of checked indices.

`normalize`, `normalize_with` and `log1p` work in the caller's buffers unless ``copy=True``; where that is impossible
(integers, read-only or strided values) the values are new, and the returned matrix is the one to use.
"""

from __future__ import annotations

import ctypes
import math
from ctypes import byref
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from . import _dense
from ._arrays import SparseView, address, code, halves, layout, plain, result_dtype, with_data, writable_in_place
from ._library import Axis, NormalizeOptions, NormalizeReport, SumOverflowError, Target, call


class Normalized(NamedTuple):
    """What normalization gives."""

    #: The matrix: the caller's where it was worked on in place.
    x: Any
    #: total / target of each cell, in the type of the values.
    factors: np.ndarray
    #: Which genes were left out of the totals; None where none was to be.
    excluded: np.ndarray | None
    #: The target; NaN if there was no positive total.
    target: float


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, np.number)) or (isinstance(value, np.ndarray) and value.ndim == 0)


def parse_target(target_sum: float | str | None) -> tuple[Target, float]:
    """Return the kind of target and its number (0 where it is to be computed)."""
    if target_sum is None or (isinstance(target_sum, str) and target_sum == "median"):
        return Target.TARGET_MEDIAN, 0.0
    if isinstance(target_sum, str) and target_sum == "mean":
        return Target.TARGET_MEAN, 0.0
    if _is_number(target_sum):
        return Target.TARGET_FIXED, float(target_sum)
    raise TypeError(f"target_sum is {target_sum!r}, expected a number, None, 'median' or 'mean'")


def log_base(base: float | None) -> float:
    """Return `base` as the library takes it: 0 for the natural logarithm."""
    if base is None:
        return 0.0
    if not _is_number(base):
        raise TypeError(f"base is {base!r}, expected a number or None")
    if base == 0 or math.isnan(base):
        raise ValueError(f"base is {base}, expected a positive number other than 1")
    return float(base)


def options(
    target: tuple[Target, float] = (Target.TARGET_MEDIAN, 0.0),
    *,
    axis: int = 0,
    exclude: bool = False,
    max_fraction: float = 0.05,
    log1p: bool = False,
    base: float | None = None,
) -> NormalizeOptions:
    """Return csrn_normalize_options."""
    return NormalizeOptions(
        ctypes.sizeof(NormalizeOptions), axis, target[0], target[1], bool(exclude), bool(log1p), max_fraction,
        log_base(base), None,
    )  # fmt: skip


def row_totals(x: Any, excluded: np.ndarray | None = None) -> np.ndarray:
    """Return the float64 total of each cell, without the genes for which the boolean mask `excluded` is set."""
    mask = None if excluded is None else plain(excluded, bool)
    if mask is not None and mask.shape != x.shape[1:]:
        raise ValueError(f"excluded has the shape {mask.shape}, expected {x.shape[1:]}")
    try:
        return _row_sums(x, mask, np.dtype(np.float64))
    except SumOverflowError:  # beyond 64 bits, but not beyond float64: exact by halves, then rounded as others are
        high, low = (_row_sums(half, mask, np.dtype(np.int64)).astype(object) for half in halves(x))
        return (high * (1 << 32) + low).astype(np.float64)


def _row_sums(x: Any, mask: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    if layout(x) == "dense":
        return _dense.row_sums(x, mask, dtype)
    view = _checked(x, mask is not None)
    sums = np.empty(x.shape[0], dtype=dtype)
    pointer = None if mask is None else address(mask)
    call("axis_sum_excluding", view.pointer, view.per(0), pointer, address(sums), code(dtype))
    return sums


def median_positive(values: np.ndarray) -> float:
    """Return the median of the positive finite values; NaN if there is none."""
    values = plain(values, np.float64)
    median = ctypes.c_double()
    call("median_positive", address(values), values.size, byref(median))
    return median.value


def mean_positive(values: np.ndarray) -> float:
    """Return the mean of the positive finite values, as the target "mean" takes it; NaN if there is none."""
    # Cells of one gene, whose totals these are.
    values = plain(values, np.float64).reshape(-1, 1)
    return _dense.normalize_block(values, np.empty_like(values), options((Target.TARGET_MEAN, 0.0)), None)


def target_of(totals: np.ndarray, kind: Target) -> float:
    """Return the median or the mean."""
    return median_positive(totals) if kind == Target.TARGET_MEDIAN else mean_positive(totals)


def highly_expressed(x: Any, max_fraction: float) -> np.ndarray:
    """Return which genes hold more than `max_fraction` of the total of any cell."""
    try:
        return _highly_expressed(x, max_fraction)
    except SumOverflowError:
        return _above(x, max_fraction * row_totals(x))


def _above(x: Any, limits: np.ndarray) -> np.ndarray:
    """Return which columns have a value above the limit of its row, by numpy."""
    if layout(x) == "dense":
        return (x > limits[:, None]).any(axis=0)
    stored = np.repeat(np.arange(x.indptr.size - 1), np.diff(x.indptr))
    others = x.indices[: stored.size]
    rows, columns = (stored, others) if x.format == "csr" else (others, stored)
    mask = np.zeros(x.shape[1], dtype=bool)
    mask[columns[x.data[: stored.size] > limits[rows]]] = True
    return mask


def _highly_expressed(x: Any, max_fraction: float) -> np.ndarray:
    if layout(x) == "dense":
        return _dense.highly_expressed(x, max_fraction)
    view = _checked(x, True)
    mask = np.empty(x.shape[1], dtype=bool)
    call("highly_expressed", view.pointer, view.per(0), float(max_fraction), address(mask))
    return mask


def _checked(x: Any, by_column: bool = False) -> SparseView:
    """Return the view for an operation on rows of `x`; its indices are checked where they are used as subscripts, which
    is the case for CSC, and for CSR `by_column`.
    """
    view = SparseView(x)
    if by_column or view.per(0) == Axis.PER_COLUMN:
        view.check()
    return view


def csc_to_csr(x: Any) -> Any:
    """Return a CSC matrix as CSR. scipy would write outside of its arrays for an index that is none."""
    SparseView(x).check()
    return x.tocsr()


def _output(view: SparseView, x: Any, dtype: np.dtype, copy: bool) -> np.ndarray:
    """Return where new values go: the buffer of `x`, the converted values that it was read from, or a new array."""
    if not copy and x.data.dtype == dtype and writable_in_place(x.data):
        return x.data
    if view.fresh and view.data.dtype.itemsize == dtype.itemsize:
        return view.data.view(dtype)
    out = np.empty(view.data.size, dtype=dtype)
    out[: int(x.indptr[0])] = 0
    out[int(x.indptr[-1]) :] = 0  # what scipy has allocated beyond the matrix
    return out


def _finish(x: Any, out: np.ndarray, copy: bool) -> Any:
    """Return the matrix that holds `out`: `x` itself unless it is to be kept or has another type."""
    if copy or x.data.dtype.newbyteorder("=") != out.dtype:
        return with_data(x, out)
    if out is not x.data:
        x.data = out
    return x


def normalize(
    x: Any,
    target_sum: float | str | None = None,
    *,
    exclude_highly_expressed: bool = False,
    max_fraction: float = 0.05,
    log1p: bool = False,
    base: float | None = None,
    copy: bool = False,
) -> Normalized:
    """Scale each cell (row) to the same total; ``csrnorm.normalize`` has the words."""
    target = parse_target(target_sum)
    chosen = options(
        target, exclude=exclude_highly_expressed, max_fraction=max_fraction, log1p=log1p, base=base
    )  # fmt: skip
    try:
        return _normalize(x, chosen, copy)
    except SumOverflowError:  # a total beyond 64 bits: in steps, which get around that
        excluded = highly_expressed(x, max_fraction) if exclude_highly_expressed else None
        totals = row_totals(x, excluded)
        goal = target[1] if target[0] == Target.TARGET_FIXED else target_of(totals, target[0])
        return normalize_with(x, totals, goal, log1p=log1p, base=base, copy=copy)._replace(excluded=excluded)


def _normalize(x: Any, chosen: NormalizeOptions, copy: bool) -> Normalized:
    """Normalize by one call of the library; whatever that refuses, `x` stays."""
    dtype = result_dtype(x.dtype)
    excluded = np.empty(x.shape[1], dtype=bool) if chosen.exclude_highly_expressed else None
    if layout(x) == "dense":
        out, factors, target = _dense.normalize(x, chosen, excluded, copy)
        return Normalized(out, factors, excluded, target)
    view = _checked(x, excluded is not None)
    chosen.axis = view.per(0)
    chosen.excluded = None if excluded is None else address(excluded)
    out = _output(view, x, dtype, copy)
    factors = np.empty(x.shape[0], dtype=dtype)
    report = NormalizeReport()
    call(
        "normalize_total", view.pointer, byref(chosen), address(out), code(dtype), address(factors), byref(report)
    )  # fmt: skip
    return Normalized(_finish(x, out, copy), factors, excluded, report.target)


def normalize_with(
    x: Any,
    totals: np.ndarray,
    target: float,
    *,
    log1p: bool = False,
    base: float | None = None,
    copy: bool = False,
) -> Normalized:
    """Scale each cell by the total and the target given (NaN: leave the values as they are)."""
    chosen = options(log1p=log1p, base=base)
    dtype = result_dtype(x.dtype)
    totals = plain(totals, np.float64)
    if totals.shape != x.shape[:1]:
        raise ValueError(f"totals has the shape {totals.shape}, expected {x.shape[:1]}")
    if layout(x) == "dense":
        out, factors, _ = _dense.normalize_with(x, totals, float(target), chosen, copy)
        return Normalized(out, factors, None, float(target))
    view = _checked(x)
    chosen.axis = view.per(0)
    out = _output(view, x, dtype, copy)
    factors = np.empty(x.shape[0], dtype=dtype)
    value = ctypes.c_double(target)
    call(
        "normalize_with", view.pointer, address(totals), byref(value), byref(chosen), address(out), code(dtype),
        address(factors), None,
    )  # fmt: skip
    return Normalized(_finish(x, out, copy), factors, None, float(target))


def log1p(x: Any, *, base: float | None = None, copy: bool = False, dtype: Any = None) -> Any:
    """Return log(1 + x), divided by log(base) where given; integers give `dtype` (float64, as scanpy, unless given)."""
    by = log_base(base)
    result_dtype(x.dtype)
    wanted = x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.dtype(np.float64 if dtype is None else dtype)
    if layout(x) == "dense":
        return _dense.log1p(x, by, wanted, copy)
    view = SparseView(x)
    if wanted.itemsize < 4:
        wanted = np.dtype(np.float32)
    out = _output(view, x, wanted, copy)
    call("log1p", view.pointer, by, address(out), code(wanted))
    return _finish(x, out, copy)
