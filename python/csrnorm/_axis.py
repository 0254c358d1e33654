"""Normalization, sums and scaling along an axis, medians and marked genes: the functions on arrays that users call.

``axis_sum`` and ``axis_mul_or_truediv`` have the parameters of scanpy's internal functions of these names.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import mul, truediv
from typing import Any

import numpy as np

from . import _core, _cuda, _dask, _dense
from ._arrays import SparseView, address, code, halves, layout, result_dtype, with_data, writable_in_place
from ._library import Axis, ScaleOp, SumOverflowError, ZeroPolicy, call

_EXACT = {"f": np.float64, "u": np.uint64, "i": np.int64, "b": np.int64}


def normalize(
    x: Any,
    target_sum: float | str | None = None,
    *,
    exclude_highly_expressed: bool = False,
    max_fraction: float = 0.05,
    log1p: bool = False,
    base: float | None = None,
    copy: bool = False,
) -> _core.Normalized:
    """Scale each cell (row) to the same total.

    Parameters
    ----------
    x : CSR, CSC or dense matrix, or Dask array
        Cells x genes, of scipy or numpy, or of cupy or torch on a GPU. float32 and float64 values are replaced in their
        own buffer. A Dask array is never changed, and matrix and factors of the result are lazy then.
    target_sum : float or {"median", "mean"}, optional
        The total; by default the median of the positive totals, as with ``"median"``.
    exclude_highly_expressed : bool
        Leave genes out of the totals that hold more than `max_fraction` of the total of any cell.
    max_fraction : float
        Between 0 and 1, for `exclude_highly_expressed`.
    log1p : bool
        Take log(1 + x) in the same pass.
    base : float, optional
        Base of that logarithm; natural by default.
    copy : bool
        Leave `x` as it is and return another matrix.

    Returns
    -------
    Normalized
        A named tuple ``(x, factors, excluded, target)``: the matrix (`x` itself where it was worked on in place); total
        / target of each cell, in the type of the values; the mask of excluded genes, or None; the target, NaN if no
        total is positive.

    Raises
    ------
    CsrnormError
        With the sentence of the library; it is a ``ValueError`` where an argument is to blame.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, csrnorm
    >>> x = sp.csr_matrix(np.array([[1, 0, 3], [0, 2, 6]], dtype=np.float32))
    >>> result = csrnorm.normalize(x, target_sum=2)
    >>> result.x is x, result.factors
    (True, array([2., 4.], dtype=float32))
    >>> x.toarray()
    array([[0.5, 0. , 1.5],
           [0. , 0.5, 1.5]], dtype=float32)
    """
    options: dict[str, Any] = {
        "exclude_highly_expressed": exclude_highly_expressed, "max_fraction": max_fraction, "log1p": log1p, "base": base
    }  # fmt: skip
    if _dask.is_dask(x):
        return _dask.normalize(x, target_sum, **options)
    if _cuda.is_device(x):
        return _cuda.normalize(_cuda.copied(x) if copy else x, target_sum, **options)
    return _core.normalize(x, target_sum, copy=copy, **options)


def _one_axis(axis: Any) -> int | None:
    """Return 0, 1 or None (all) for what numpy takes as axis of two dimensions."""
    if axis is None:
        return None
    given = axis if isinstance(axis, tuple) else (axis,)
    axes = {int(a) % 2 if -2 <= a < 2 else int(a) for a in given}
    if not axes or not axes <= {0, 1} or len(axes) < len(given):
        raise ValueError(f"axis is {axis!r}, expected 0, 1 or None")
    return None if len(axes) == 2 else axes.pop()


def _sums(x: Any, axis: int) -> np.ndarray:
    """Return the sums in 64 bits: floating-point or integer as the values are."""
    exact = np.dtype(_EXACT[x.dtype.kind])
    if layout(x) == "dense":
        if axis == 0:
            return _dense.column_sums(x, exact)
        return _dense.row_sums(x, None, exact)
    view = SparseView(x)
    if view.data.dtype.kind == "f" and exact.kind != "f":
        return _sums_of_uint64(x, axis)
    if view.per(1 - axis) == Axis.PER_COLUMN:
        view.check()
    sums = np.empty(x.shape[1 - axis], dtype=exact)
    try:
        call("axis_sum", view.pointer, view.per(1 - axis), address(sums), code(exact))
    except SumOverflowError:
        if x.dtype.kind != "u" or x.dtype.itemsize < 8:
            raise
        return _sums_of_uint64(x, axis)
    return sums


def _sums_of_uint64(x: Any, axis: int) -> np.ndarray:
    """Sum values, or to sums, above 2**63, which the library does not have: high and low halves apart."""
    high, low = (_sums(half, axis).astype(object) for half in halves(x))
    return _dense.within(high * (1 << 32) + low, np.dtype(np.uint64))


def check(x: Any) -> None:
    """Raise ``InvalidMatrixError`` unless `indptr` and `indices` of a CSR or CSC matrix describe one.

    Parameters
    ----------
    x : CSR, CSC or dense matrix
        The matrix. In a dense array there is nothing to check.

    Raises
    ------
    InvalidMatrixError
        With the first entry that is wrong.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, csrnorm
    >>> x = sp.csr_matrix(np.array([[1, 0, 3], [0, 2, 2]], dtype=np.uint8))
    >>> csrnorm.check(x)
    >>> x.indices[1] = 3
    >>> csrnorm.check(x)
    Traceback (most recent call last):
    csrnorm._library.InvalidMatrixError: A->indices[1], in row 0, is 3; expected 0 to n_cols - 1 = 2
    """
    if _cuda.is_device(x):
        _cuda.check_indices(x)
    elif layout(x) != "dense":
        SparseView(x).check()


def axis_sum(x: Any, *, axis: int | tuple[int, ...] | None = None, dtype: Any = None) -> np.ndarray | np.generic:
    """Sum a CSR, CSC or dense matrix along an axis.

    Floating-point values are added in float64, whatever their type, and integers exactly: a sum that int64 (of
    unsigned values: uint64) does not hold is an ``OverflowError``, whatever `dtype` is; for ``axis=None`` so is the sum
    of a row. The columns of dense arrays are added by numpy.

    Parameters
    ----------
    x : CSR, CSC or dense matrix, or Dask array
        The matrix.
    axis : int, optional
        0: one sum per column. 1: one per row. By default the sum of all.
    dtype : dtype, optional
        Type of the result; by default float64, int64 or uint64.

    Returns
    -------
    numpy.ndarray or numpy.generic
        The sums, in one dimension, or the only one; lazy where `x` is a Dask array.

    Raises
    ------
    SumOverflowError
        Where a sum of integers does not fit 64 bits.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, csrnorm
    >>> x = sp.csr_matrix(np.array([[1, 0, 3], [0, 2, 2]], dtype=np.uint8))
    >>> csrnorm.axis_sum(x, axis=0)
    array([1, 2, 5], dtype=uint64)
    >>> csrnorm.axis_sum(x, axis=1, dtype=np.float32)
    array([4., 4.], dtype=float32)
    """
    if _dask.is_dask(x):
        return _dask.axis_sum(x, axis=axis, dtype=dtype)
    if _cuda.is_device(x):
        return _cuda.axis_sum(x, _one_axis(axis), _EXACT, dtype)
    result_dtype(x.dtype)
    along = _one_axis(axis)
    sums = _sums(x, 1 if along is None else along)
    if along is None:
        sums = _dense.add_exactly(sums)[()]
    return sums if dtype is None else sums.astype(dtype, copy=False)


def _factors(scaling_array: Any, x: Any, axis: int, op: Callable) -> tuple[np.ndarray, np.dtype]:
    """Return the factors as one dimension and the type that numpy gives `x op factors`."""
    if axis not in (0, 1):
        raise ValueError(f"axis is {axis!r}, expected 0 or 1")
    factors = np.ravel(np.asarray(scaling_array))
    if factors.size != x.shape[axis]:
        raise ValueError(f"scaling_array has {factors.size} entries, expected {x.shape[axis]}")
    return factors, scaled_dtype(x, factors, op)


def scaled_dtype(x: Any, factors: Any, op: Callable) -> np.dtype:
    """Return the type that numpy gives `x op factors`."""
    if op not in (mul, truediv):
        raise ValueError(f"{op} not one of truediv or mul")
    return op(np.ones(1, x.dtype), np.ones(1, factors.dtype)).dtype


def axis_mul_or_truediv(
    x: Any,
    /,
    scaling_array: Any,
    axis: int,
    op: Callable[[Any, Any], Any],
    *,
    allow_divide_by_zero: bool = True,
    out: Any = None,
) -> Any:
    """Multiply or divide each row (``axis=0``) or column (``axis=1``) by its factor.

    Parameters
    ----------
    x : CSR, CSC or dense matrix, or Dask array
        The matrix.
    scaling_array : array
        One factor for each row or column.
    axis : {0, 1}
        0: factors of rows. 1: factors of columns.
    op : {operator.mul, operator.truediv}
        What to do.
    allow_divide_by_zero : bool
        With False, a factor of zero divides as 1.
    out : matrix, optional
        By default a new matrix is made. `x` itself: its values are replaced, in their own buffer where their type is
        that of the result. Another array, for dense arrays only: the result goes there.

    Returns
    -------
    CSR, CSC or dense matrix, or Dask array
        The results, of the type that numpy gives ``x op scaling_array``.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, csrnorm
    >>> from operator import truediv
    >>> x = sp.csr_matrix(np.array([[1, 0, 3], [0, 2, 2]], dtype=np.float32))
    >>> same = csrnorm.axis_mul_or_truediv(x, np.float32([2, 4]), 0, truediv, out=x)
    >>> same is x, x.data
    (True, array([0.5, 1.5, 0.5, 0.5], dtype=float32))
    """
    if _dask.is_dask(x):
        return _dask.axis_mul_or_truediv(
            x, scaling_array, axis, op, allow_divide_by_zero=allow_divide_by_zero, out=out
        )
    if _cuda.is_device(x):
        return _cuda.axis_mul_or_truediv(
            x, scaling_array, axis, op, allow_divide_by_zero=allow_divide_by_zero, out=out
        )
    result_dtype(x.dtype)
    factors, dtype = _factors(scaling_array, x, axis, op)
    if layout(x) == "dense":
        return _scale_dense(x, factors, axis, op, allow_divide_by_zero, out, dtype)
    if out is not None and x.data is not out.data:
        raise ValueError(
            "`out` argument provided but not equal to X.  "
            "This behavior is not supported for sparse matrix scaling."
        )
    if dtype in (np.float32, np.float64):
        data = _scale_sparse(x, factors.astype(dtype), axis, op, allow_divide_by_zero, out is not None)
    else:
        data = _scale_by_numpy(x, _no_zeros(factors, op, allow_divide_by_zero), axis, op)
    if out is None:
        return with_data(x, data)
    if data is not x.data:
        x.data = data
    return x


def _no_zeros(factors: np.ndarray, op: Callable, allow_divide_by_zero: bool) -> np.ndarray:
    return factors if allow_divide_by_zero or op is mul else factors + (factors == 0)


def _policy(allow_divide_by_zero: bool) -> ZeroPolicy:
    return ZeroPolicy.ZERO_IEEE if allow_divide_by_zero else ZeroPolicy.ZERO_AS_ONE


def _scale_sparse(
    x: Any, factors: np.ndarray, axis: int, op: Callable, allow_divide_by_zero: bool, in_place: bool
) -> np.ndarray:
    """Scale by the library; return the values, which are those of `x` if it can be worked on in place."""
    view, dtype = SparseView(x), factors.dtype
    if view.per(axis) == Axis.PER_COLUMN:
        view.check()
    data = x.data if in_place and x.data.dtype == dtype and writable_in_place(x.data) else None
    if data is None:
        data = np.empty(view.data.size, dtype=dtype)
        data[: int(x.indptr[0])] = 0
        data[int(x.indptr[-1]) :] = 0
    call(
        "axis_scale", view.pointer, view.per(axis), ScaleOp.DIVIDE if op is truediv else ScaleOp.MULTIPLY,
        address(factors), code(dtype), _policy(allow_divide_by_zero), address(data), code(dtype),
    )  # fmt: skip
    return data


def _scale_by_numpy(x: Any, factors: np.ndarray, axis: int, op: Callable) -> np.ndarray:
    """Scale integers by integers, which the library leaves to numpy."""
    SparseView(x).check()
    used = slice(int(x.indptr[0]), int(x.indptr[-1]))  # scipy may have allocated more than the matrix needs
    if (axis == 0) == (x.format == "csr"):
        result = op(x.data[used], np.repeat(factors, np.diff(x.indptr)))
    else:
        result = op(x.data[used], factors.take(x.indices[used]))
    if result.size == x.data.size:
        return result
    data = np.zeros(x.data.size, dtype=result.dtype)
    data[used] = result
    return data


def _scale_dense(
    x: np.ndarray, factors: np.ndarray, axis: int, op: Callable, allow_divide_by_zero: bool, out: Any, dtype: np.dtype
) -> np.ndarray:
    if axis == 0 and x.ndim == 2 and dtype in (np.float32, np.float64) and (out is None or out is x):
        if out is None or x.dtype in (np.float32, np.float64):
            return _dense.scale_rows(
                x, factors.astype(dtype), ScaleOp.DIVIDE if op is truediv else ScaleOp.MULTIPLY,
                _policy(allow_divide_by_zero), out is not None,
            )  # fmt: skip
    factors = _no_zeros(factors, op, allow_divide_by_zero)
    factors = factors[None, :] if axis else factors[:, None]
    return (np.multiply if op is mul else np.true_divide)(x, factors, out=out)


def median_positive(values: Any) -> float:
    """Return the median of the positive finite values, the middle two averaged; NaN if there is none.

    Parameters
    ----------
    values : array
        One dimension of real numbers of any type; it is not changed.

    Returns
    -------
    float
        The median, or NaN.

    Examples
    --------
    >>> import numpy as np, csrnorm
    >>> csrnorm.median_positive(np.array([0.0, 4.0, 1.0, 2.0, np.nan]))
    2.0
    """
    if _dask.is_dask(values):
        return _dask.median_positive(values)
    if _cuda.is_device(values):
        return _cuda.median_positive(values)
    if isinstance(values, np.ma.MaskedArray) or np.asarray(values).dtype.kind not in "biuf":
        raise TypeError("values are masked, complex or no numbers, expected an array of real numbers")
    return _core.median_positive(np.asarray(values).ravel())


def highly_expressed_genes(x: Any, max_fraction: float = 0.05) -> np.ndarray:
    """Return which genes (columns) hold more than `max_fraction` of the total of any cell (row).

    Parameters
    ----------
    x : CSR, CSC or dense matrix, or Dask array
        Cells x genes.
    max_fraction : float
        Between 0 and 1; compared strictly, in float64.

    Returns
    -------
    numpy.ndarray
        A boolean mask of the genes that ``normalize_total(exclude_highly_expressed=True)`` leaves out of the totals;
        lazy where `x` is a Dask array.

    Examples
    --------
    >>> import numpy as np, csrnorm
    >>> csrnorm.highly_expressed_genes(np.array([[9, 1, 0], [1, 1, 1]]), max_fraction=0.5)
    array([ True, False, False])
    """
    where: Any = _dask if _dask.is_dask(x) else _cuda if _cuda.is_device(x) else _core
    return where.highly_expressed(x, max_fraction)
