"""Dense arrays, in blocks of rows: a block is a CSR matrix in which every entry is stored.

An array that the library can read as it lies is one block and is worked on in place. Any other (column-major, strided,
byte-swapped, int8, float16, ...) goes through blocks of bounded size, so that nothing of its size is allocated. Where
columns matter, blocks come with the column of every entry, and are bounded for that reason.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from ctypes import byref
from functools import wraps
from typing import Any

import numpy as np

from ._arrays import DenseView, address, code, readable, result_dtype
from ._interrupt import uninterrupted
from ._library import Axis, NormalizeOptions, NormalizeReport, SumOverflowError, Target, call

#: Entries of a block: large enough for several threads, small beside any matrix for which memory matters.
BLOCK = 1 << 18


def _matrix(x: np.ndarray) -> np.ndarray:
    """Return `x` without the habits of a subclass; refuse what has not two dimensions."""
    if x.ndim != 2:
        raise ValueError(f"x has {x.ndim} dimensions, expected 2")
    return x.view(np.ndarray)


def _own(x: np.ndarray, plain: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Return the caller's object `x` where the results lie in `plain`, its plain view."""
    return x if out is plain else out


def _direct(x: np.ndarray) -> bool:
    """Say whether the library can read `x` as it lies, whatever the values."""
    return x.flags.c_contiguous and x.flags.aligned and x.dtype != np.uint64 and not readable(x[:0])[1]


def _spans(x: np.ndarray, bounded: bool) -> Iterator[slice]:
    """Split the rows: all in one, or as many at a time as make a block."""
    rows = max(1, BLOCK // max(1, x.shape[1])) if bounded else max(1, x.shape[0])
    for first in range(0, x.shape[0], rows):
        yield slice(first, min(first + rows, x.shape[0]))


def _columns(x: np.ndarray) -> np.ndarray:
    """Return the columns of the entries of the largest block."""
    rows = min(x.shape[0], max(1, BLOCK // max(1, x.shape[1])))
    return np.tile(np.arange(x.shape[1], dtype=np.int32), rows)


def row_sums(x: np.ndarray, excluded: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    """Return the sum of each row as float64, int64 or uint64, without the columns of the mask `excluded`."""
    x = _matrix(x)
    sums = np.empty(x.shape[0], dtype=dtype)
    columns = None if excluded is None else _columns(x)
    mask = None if excluded is None else address(excluded)
    for span in _spans(x, excluded is not None or not _direct(x)):
        block, part = readable(x[span])[0], sums[span]
        if dtype == np.uint64 and x.dtype.itemsize == 8:  # the library has int64 alone
            part[...] = exact_sum(x[span], 1, dtype)
            continue
        view = DenseView(block, None if columns is None else columns[: block.size])
        call("axis_sum_excluding", view.pointer, Axis.PER_ROW, mask, address(part), code(dtype))
    return sums


def highly_expressed(x: np.ndarray, max_fraction: float) -> np.ndarray:
    """Return which columns hold more than `max_fraction` of the total of any row."""
    x = _matrix(x)
    marked = np.zeros(x.shape[1], dtype=bool)
    mask, columns = np.empty_like(marked), _columns(x)
    # With no rows there is one call all the same: it looks at max_fraction.
    for span in list(_spans(x, True)) or [slice(0, 0)]:
        block = readable(x[span])[0]
        view = DenseView(block, columns[: block.size])
        call("highly_expressed", view.pointer, Axis.PER_ROW, float(max_fraction), address(mask))
        marked |= mask
    return marked


def _output(x: np.ndarray, dtype: np.dtype, copy: bool) -> np.ndarray:
    """Return where new values go: `x` itself, or an array of its layout."""
    if copy or x.dtype.newbyteorder("=") != dtype:
        return np.empty_like(x, dtype=dtype, subok=False)
    if not x.flags.writeable:
        raise ValueError("x is read-only and cannot be worked on in place")
    return x


def normalize_block(
    block: np.ndarray, out: np.ndarray, options: NormalizeOptions, factors: np.ndarray | None
) -> float:
    """Normalize one block into `out`; return the target."""
    report = NormalizeReport()
    view = DenseView(block)
    call(
        "normalize_total", view.pointer, byref(options), address(out), code(out.dtype),
        None if factors is None else address(factors), byref(report),
    )  # fmt: skip
    return report.target


def values_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type of normalized values: float16 stays, as in scanpy."""
    return np.dtype(np.float16) if dtype.kind == "f" and dtype.itemsize == 2 else result_dtype(dtype)


def _each_block(x: np.ndarray, out: np.ndarray, dtype: np.dtype) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield rows, what to read them from, and where to put results of `dtype`, which then go to `out`."""
    direct = _direct(x) and out.flags.c_contiguous and out.dtype == dtype and out.dtype.isnative
    for span in _spans(x, not direct):
        block, fresh = readable(x[span])
        if direct:
            result = out[span]
        elif fresh and block.dtype.itemsize == dtype.itemsize:
            result = block.view(dtype)
        else:
            result = np.empty(block.shape, dtype=dtype)
        yield span, block, result
        if not direct:
            # A value beyond float16 becomes infinite there, silently as in numpy's own float16 arithmetic on arrays.
            with np.errstate(over="ignore"):
                out[span] = result


def _all_blocks(function: Callable) -> Callable:
    """Let an interrupt wait until all blocks of the array that comes first are done, or some would be as before, and
    others not, with nothing to tell which.
    """

    @wraps(function)
    def call_it(x: np.ndarray, *args: Any) -> Any:
        with uninterrupted() if x.size > BLOCK else nullcontext():
            return function(x, *args)

    return call_it


def normalize(
    x: np.ndarray, options: NormalizeOptions, excluded: np.ndarray | None, copy: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """Normalize; return the array, the factors and the target."""
    plain = _matrix(x)
    if excluded is None and (_direct(plain) or options.target == Target.TARGET_FIXED) and x.shape[0]:
        out, factors, target = _normalize_at_once(plain, options, copy)
        return _own(x, plain, out), factors, target
    if excluded is not None:
        excluded[...] = highly_expressed(plain, options.max_fraction)
    totals = row_sums(plain, excluded, np.dtype(np.float64))
    return normalize_with(x, totals, _target(totals, options), options, copy)


def _target(totals: np.ndarray, options: NormalizeOptions) -> float:
    """Return the target that the options ask for, from the totals."""
    chosen = NormalizeOptions.from_buffer_copy(options)
    chosen.exclude_highly_expressed, chosen.log1p = 0, 0
    totals = totals.reshape(-1, 1)
    return normalize_block(totals, np.empty_like(totals), chosen, None)


@_all_blocks
def _normalize_at_once(x: np.ndarray, options: NormalizeOptions, copy: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Normalize in one pass where the target needs none before, or the library has the whole array."""
    dtype, target = result_dtype(x.dtype), float("nan")
    out = _output(x, values_dtype(x.dtype), copy)
    factors = np.empty(x.shape[0], dtype=dtype)
    for span, block, result in _each_block(x, out, dtype):
        target = normalize_block(block, result, options, factors[span])
    return out, factors.astype(values_dtype(x.dtype), copy=False), target


@_all_blocks
def normalize_with(
    x: np.ndarray, totals: np.ndarray, target: float, options: NormalizeOptions, copy: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """Normalize by the totals and the target given."""
    given, x = x, _matrix(x)
    dtype = result_dtype(x.dtype)
    out = _output(x, values_dtype(x.dtype), copy)
    factors = np.empty(x.shape[0], dtype=dtype)
    value = ctypes.c_double(target)
    for span, block, result in _each_block(x, out, dtype):
        view = DenseView(block)
        call(
            "normalize_with", view.pointer, address(totals[span]), byref(value), byref(options), address(result),
            code(dtype), address(factors[span]), None,
        )  # fmt: skip
    return _own(given, x, out), factors.astype(values_dtype(x.dtype), copy=False), target


@_all_blocks
def scale_rows(x: np.ndarray, factors: np.ndarray, op: int, zeros: int, in_place: bool) -> np.ndarray:
    """Multiply or divide each row by its factor, in place or into a new array of the factors' type."""
    given, x = x, _matrix(x)
    out = _output(x, x.dtype.newbyteorder("=") if in_place else factors.dtype, not in_place)
    dtype = out.dtype.newbyteorder("=")
    for span, block, result in _each_block(x, out, dtype):
        view = DenseView(block)
        call(
            "axis_scale", view.pointer, Axis.PER_ROW, op, address(factors[span]), code(factors.dtype), zeros,
            address(result), code(dtype),
        )  # fmt: skip
    return _own(given, x, out)


def log1p(x: np.ndarray, base: float, wanted: np.dtype, copy: bool) -> np.ndarray:
    """Return log(1 + x) as `wanted`, for arrays of any number of dimensions."""
    # Without the habits of a subclass: items set in a view of an AnnData's X would turn that into a copy.
    given, x = x, x.view(np.ndarray)
    out = _output(x, wanted, copy)
    _log1p_into(x, out, base, np.dtype(np.float32) if wanted.itemsize < 4 else wanted)
    return _own(given, x, out)


@_all_blocks
def _log1p_into(x: np.ndarray, out: np.ndarray, base: float, dtype: np.dtype) -> None:
    if x.ndim > 2 and not (x.flags.c_contiguous and out.flags.c_contiguous):
        for part, result in zip(x, out):
            _log1p_into(part, result, base, dtype)
        return
    if x.ndim != 2:  # elements have no place here: one long column
        x, out = x.reshape(-1, 1), out.reshape(-1, 1)
    for _, block, result in _each_block(x, out, dtype):
        view = DenseView(block)
        call("log1p", view.pointer, base, address(result), code(dtype))


def column_sums(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the sum of each column, by numpy; integers exactly."""
    return np.asarray(np.sum(x, axis=0, dtype=dtype)) if dtype.kind == "f" else exact_sum(x, 0, dtype)


def exact_sum(x: np.ndarray, axis: int, dtype: np.dtype) -> np.ndarray:
    """Sum integers along an axis as int64 or uint64, or raise SumOverflowError where a sum does not fit."""
    x, limits = _matrix(x), np.iinfo(dtype)
    terms = max(1, x.shape[axis])
    largest = 1 << 8 * x.dtype.itemsize
    if x.size and largest * terms > limits.max:
        largest = max(int(x.max()), -int(x.min()))
    if not x.size or largest * terms <= limits.max:
        return np.asarray(np.sum(x, axis=axis, dtype=dtype))
    # High and low halves apart, since neither can overflow with fewer than 2**31 terms.
    sums = np.zeros(x.shape[1 - axis], dtype=object)
    for span in _spans(x, True):
        part = sums if axis == 0 else sums[span]
        high, low = x[span] >> x.dtype.type(32), x[span] & x.dtype.type(0xFFFFFFFF)
        part += np.sum(high, axis=axis, dtype=np.int64).astype(object) * (1 << 32)
        part += np.sum(low, axis=axis, dtype=np.int64).astype(object)
    return within(sums, dtype)


def within(exact: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return exact sums (Python's integers) as `dtype`, or raise SumOverflowError."""
    limits = np.iinfo(dtype)
    if np.max(exact) > limits.max or np.min(exact) < limits.min:
        raise SumOverflowError(f"a sum of integers is outside {dtype.name}")
    return np.asarray(exact, dtype=dtype)


def add_exactly(parts: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """Add sums to sums; integers beyond 64 bits are an error."""
    axis = tuple(range(parts.ndim)) if axis is None else axis
    if parts.dtype.kind == "f" or not parts.size:
        return np.sum(parts, axis=axis, keepdims=keepdims)
    if max(int(parts.max()), -int(parts.min())) <= np.iinfo(parts.dtype).max // parts.size:
        return np.sum(parts, axis=axis, keepdims=keepdims, dtype=parts.dtype)
    return within(np.sum(parts.astype(object), axis=axis, keepdims=keepdims), parts.dtype)
