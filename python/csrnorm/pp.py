"""scanpy's preprocessing functions on AnnData, by their names and with their parameters.

Parameters, warnings, return values and side effects are those of scanpy 1.11.5, with ``obsm`` as in 1.12, without the
warnings of numpy at some values; ``docs/python.md`` lists every difference that is meant. Neither scanpy nor anndata is
imported: AnnData is known by its module, and messages go to scanpy's log where scanpy is loaded.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from . import _axis, _core, _cuda, _dask
from ._arrays import layout, result_dtype, writable_in_place
from ._interrupt import uninterrupted

__all__ = ["log1p", "normalize_total"]

F = TypeVar("F", bound=Callable[..., Any])


class _NoLog:
    """Stands in for scanpy's log where scanpy is not loaded."""

    def __getattr__(self, _level: str):
        return lambda *_args, **_keywords: None


def _log() -> Any:
    return sys.modules.get("scanpy.logging", _NoLog())


def is_anndata(x: Any) -> bool:
    """Say whether `x` is an AnnData; without that package nothing is."""
    module = sys.modules.get("anndata")
    return module is not None and isinstance(x, module.AnnData)


def _is_backed(x: Any) -> bool:
    """Say whether `x` is an array in a file."""
    module = type(x).__module__
    return module.startswith(("h5py.", "zarr.")) or module == "anndata._core.sparse_dataset"


def handles(x: Any) -> bool:
    """Say whether the functions here work on the array `x`."""
    try:
        if _dask.is_dask(x):
            return _dask.handles(x)
        if not _is_backed(x):
            if _cuda.is_device(x):
                return True
            layout(x)
        result_dtype(x.dtype)
    except (TypeError, AttributeError):
        return False
    return len(x.shape) == 2


def _warn(message: str, category: type[Warning]) -> None:
    """Warn, in the name of the first caller outside of this package and of what wraps its functions."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("csrnorm."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _with_old_positionals(*names: str) -> Callable[[F], F]:
    """Accept parameters by place that once had one, with scanpy's warning."""

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            if len(args) < 2:
                return function(*args, **keywords)
            first, *rest = args
            if len(rest) > len(names):
                count = 1 + len(names)
                raise TypeError(
                    f"{function.__name__}() takes from 1 to {count} parameters, but {1 + len(rest)} were given."
                )
            _warn(
                f"The specified parameters {names[: len(rest)]!r} are no longer positional. "
                f"Please specify them like `{names[0]}={rest[0]!r}`",
                FutureWarning,
            )
            return function(first, **{**keywords, **dict(zip(names, rest))})

        return cast("F", call)

    return decorate


def _make_actual(adata: Any) -> None:
    """Turn a view into an object of its own."""
    if adata.is_view:
        _warn("Received a view of an AnnData. Making a copy.", UserWarning)
        adata._init_as_actual(adata.copy())


def get(adata: Any, layer: str | None, obsm: str | None = None) -> Any:
    """Return the array that is meant."""
    if layer is not None and obsm is not None:
        raise ValueError(f"layer is {layer!r} and obsm is {obsm!r}, expected one of them")
    if layer is not None:
        return adata.layers[layer]
    return adata.X if obsm is None else adata.obsm[obsm]


def _set(adata: Any, x: Any, layer: str | None, obsm: str | None = None) -> None:
    if layer is not None:
        adata.layers[layer] = x
    elif obsm is not None:
        adata.obsm[obsm] = x
    else:
        adata.X = x


def _is_written(x: Any) -> bool:
    """Say whether normalization replaces the values of the CSR matrix `x` in their buffer."""
    if getattr(x, "format", None) != "csr":
        return False
    if _cuda.is_device(x):
        return x.data.dtype in (np.float32, np.float64)
    return isinstance(getattr(x, "data", None), np.ndarray) and writable_in_place(x.data)


def _is_shared(adata: Any, x: Any, layer: str | None, obsm: str | None) -> bool:
    """Say whether another array of `adata` has the buffer of the CSR matrix `x`, as ``layers["raw"] = csr_matrix(X)``
    has. scanpy gives CSR matrices a new buffer, so that the other one stays; dense arrays change together there too.
    """
    others = [value for key, value in adata.layers.items() if key != layer]
    others += [value for key, value in adata.obsm.items() if key != obsm]
    for place in (adata.varm, adata.obsp, adata.varp):
        others += place.values()
    if not adata.isbacked:
        others += [] if layer is None and obsm is None else [adata.X]
        others += [] if adata.raw is None else [adata.raw.X]
    others = [other for other in others if other is not x]
    if _cuda.is_device(x):
        return any(_cuda.is_device(other) and _cuda.share_values(x, other) for other in others)
    buffers = [other if isinstance(other, np.ndarray) else getattr(other, "data", None) for other in others]
    return any(isinstance(buffer, np.ndarray) and np.may_share_memory(buffer, x.data) for buffer in buffers)


def _to_normalize(x: Any) -> Any:
    """Return an array as it is normalized: read from its file if it is in one, CSC as CSR."""
    if _is_backed(x):
        x = x[()] if hasattr(x, "__array__") else x.to_memory()
    if getattr(x, "format", None) == "csc" and not _cuda.is_device(x):
        x = _core.csc_to_csr(x)
    return x


def _warn_of_zeros(factors: Any) -> None:
    # To look at factors on a device, or at lazy ones, would mean to wait for them.
    if isinstance(factors, np.ndarray) and not (factors > 0).all():
        _warn("Some cells have zero counts", UserWarning)


@_with_old_positionals(
    "target_sum", "exclude_highly_expressed", "max_fraction", "key_added", "layer", "inplace", "copy"
)
def normalize_total(
    adata: Any,
    *,
    target_sum: float | str | None = None,
    exclude_highly_expressed: bool = False,
    max_fraction: float = 0.05,
    key_added: str | None = None,
    layer: str | None = None,
    obsm: str | None = None,
    inplace: bool = True,
    copy: bool = False,
    log1p: bool = False,
    base: float | None = None,
) -> Any:
    """Normalize counts per cell, as ``scanpy.pp.normalize_total``.

    Parameters
    ----------
    adata : AnnData
        The annotated data matrix of cells x genes: CSR, CSC (which becomes CSR, as in scanpy) or dense.
    target_sum : float or {"median", "mean"}, optional
        Total of every cell afterwards; by default the median of the positive totals, as with ``"median"``.
    exclude_highly_expressed : bool
        Leave genes out of the totals that hold more than `max_fraction` of the total of any cell.
    max_fraction : float
        Between 0 and 1, for `exclude_highly_expressed`.
    key_added : str, optional
        Name of the column of ``adata.obs`` for the factors, total / target.
    layer : str, optional
        The layer to normalize instead of ``X``.
    obsm : str, optional
        The entry of ``obsm`` to normalize instead of ``X``.
    inplace : bool
        Whether to update `adata` or to return a dictionary.
    copy : bool
        Whether to work on a copy of `adata` and return that. Not compatible with ``inplace=False``.
    log1p : bool
        Take log(1 + x) in the same pass over the values; ``adata.uns["log1p"]`` is written too.
    base : float, optional
        Base of that logarithm; natural by default.

    Returns
    -------
    AnnData, dict or None
        The copy with ``copy=True``; ``{"X": ..., "norm_factor": ...}`` with ``inplace=False``; else None.

    Examples
    --------
    >>> import numpy as np, csrnorm
    >>> from anndata import AnnData
    >>> adata = AnnData(np.array([[3, 3, 6], [1, 1, 2], [1, 22, 1]], dtype=np.float32))
    >>> csrnorm.pp.normalize_total(adata, target_sum=4, key_added="factor")
    >>> adata.X
    array([[1.        , 1.        , 2.        ],
           [1.        , 1.        , 2.        ],
           [0.16666667, 3.6666667 , 0.16666667]], dtype=float32)
    >>> adata.obs["factor"].to_list()
    [3.0, 1.0, 6.0]
    """
    if copy:
        if not inplace:
            raise ValueError("`copy=True` cannot be used with `inplace=False`.")
        adata = adata.copy()
    if max_fraction < 0 or max_fraction > 1:
        raise ValueError("Choose max_fraction between 0 and 1.")
    _make_actual(adata)
    x = get(adata, layer, obsm)
    if x is None:
        raise ValueError(f"Layer {layer!r} not found in adata.")

    # From anndata 0.13 on X is one of the layers, and what it is set to is in memory.
    to_file = layer is None and obsm is None and adata.isbacked and not hasattr(adata.layers, "isbacked")
    if inplace and to_file and adata.file._filemode == "r":
        raise ValueError('adata.X is in a file that was opened with backed="r", expected "r+" or inplace=False')
    if inplace and _is_written(x) and _is_shared(adata, x, layer, obsm):
        x.data = _cuda.copied(x.data) if _cuda.is_device(x) else x.data.copy()

    log = _log()
    if log1p and inplace and "log1p" in adata.uns:
        log.warning("adata.X seems to be already log-transformed.")
    start = log.info("normalizing counts per cell")
    counts = _to_normalize(x)
    # An interrupt amid what follows would leave values normalized that nothing says are; not so in a Dask array, which
    # is never changed, and whose totals may take long.
    with uninterrupted() if inplace and not _dask.is_dask(counts) else nullcontext():
        result = _axis.normalize(
            counts,
            target_sum,
            exclude_highly_expressed=exclude_highly_expressed,
            max_fraction=max_fraction,
            log1p=log1p,
            base=base,
            copy=not inplace and counts is x,
        )
        if inplace:
            if key_added is not None:
                factors = result.factors
                adata.obs[key_added] = factors.get() if hasattr(factors, "get") else np.asarray(factors)
            if result.x is not x or adata.isbacked:
                _set(adata, result.x, layer, obsm)
            if log1p:
                adata.uns["log1p"] = {"base": base}
    if result.excluded is not None and not _cuda.is_device(result.x):  # there it would have to be waited for
        names = adata.var_names if obsm is None else np.arange(result.excluded.size)
        log.info(
            "The following highly-expressed genes are not considered during normalization factor computation:\n"
            f"{names[result.excluded].tolist()}"
        )
    _warn_of_zeros(result.factors)
    log.info("    finished ({time_passed})", time=start)
    if key_added is not None:
        log.debug(f"and added {key_added!r}, counts per cell before normalization (adata.obs)")
    if copy:
        return adata
    return None if inplace else {"X": result.x, "norm_factor": result.factors}


def _with_old_name(old: str, new: str) -> Callable[[F], F]:
    """Accept the first parameter under the name that it once had, with scanpy's warning."""

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            if old in keywords:
                name = function.__name__
                _warn(
                    f"In function `{name}`, argument `{old}` was renamed to `{new}` at first position. "
                    f"Call it as `{name}(val, ...)` instead of `{name}({old}=val, ...)`.",
                    FutureWarning,
                )
                args = (keywords.pop(old), *args)
            return function(*args, **keywords)

        return cast("F", call)

    return decorate


@_with_old_name("X", "data")
def log1p(
    data: Any,
    *,
    base: float | None = None,
    copy: bool = False,
    chunked: bool | None = None,
    chunk_size: int | None = None,
    layer: str | None = None,
    obsm: str | None = None,
) -> Any:
    """Take log(1 + x), as ``scanpy.pp.log1p``. -1 becomes -inf and what is below NaN, without numpy's RuntimeWarning.

    Parameters
    ----------
    data : AnnData, CSR, CSC or dense array, or Dask array
        What to transform. Integers become float64, as in scanpy; other values are replaced in their own buffer.
    base : float, optional
        Base of the logarithm; natural by default.
    copy : bool
        Whether to work on a copy and return that.
    chunked : bool, optional
        Work in chunks of cells: for an AnnData in a file, opened with ``backed="r+"``. In memory there is no need.
    chunk_size : int, optional
        Cells of a chunk.
    layer : str, optional
        The layer to transform instead of ``X``.
    obsm : str, optional
        The entry of ``obsm`` to transform.

    Returns
    -------
    array, AnnData or None
        The array; for an AnnData None, or the copy with ``copy=True``.

    Examples
    --------
    >>> import numpy as np, csrnorm
    >>> csrnorm.pp.log1p(np.array([[0.0, 1.0, 3.0]]), base=2)
    array([[0., 1., 2.]])
    """
    if is_anndata(data):
        return _log1p_anndata(data, base, copy, chunked, chunk_size, layer, obsm)
    only = {"chunked": chunked, "chunk_size": chunk_size, "layer": layer, "obsm": obsm}
    if given := [name for name, value in only.items() if value is not None]:
        raise TypeError(f"Arguments {given} are only valid if an AnnData object is passed.")
    return _log1p(data, base, copy)


def _log1p(x: Any, base: float | None, copy: bool = False) -> Any:
    """Take log(1 + x) of an array wherever it lies: the place where other kinds of arrays branch off."""
    if _dask.is_dask(x):
        return _dask.log1p(x, base=base)
    if _cuda.is_device(x):
        return _cuda.log1p(_cuda.copied(x) if copy else x, base)
    return _core.log1p(x, base=base, copy=copy)


def _log1p_anndata(
    adata: Any,
    base: float | None,
    copy: bool,
    chunked: bool | None,
    chunk_size: int | None,
    layer: str | None,
    obsm: str | None,
) -> Any:
    if "log1p" in adata.uns:
        _log().warning("adata.X seems to be already log-transformed.")
    adata = adata.copy() if copy else adata
    _make_actual(adata)
    if chunked and (layer is not None or obsm is not None):
        raise NotImplementedError("Currently cannot perform chunked operations on arrays not stored in X.")
    with uninterrupted():  # or there could be logarithms that nothing says are
        if chunked and adata.isbacked:
            _log1p_backed(adata, base, chunk_size)
        else:
            x = get(adata, layer, obsm)
            if _is_backed(x):
                where = "from layers" if layer is not None else "without `chunked=True`"
                raise NotImplementedError(f"log1p is not implemented for matrices of type {type(x)} {where}")
            result = _log1p(x, base)
            if result is not x or adata.isbacked:
                _set(adata, result, layer, obsm)
        adata.uns["log1p"] = {"base": base}
    return adata if copy else None


def _log1p_backed(adata: Any, base: float | None, chunk_size: int | None) -> None:
    """Transform X in its file, some cells at a time."""
    if adata.file._filemode != "r+":
        raise NotImplementedError("log1p is not implemented for backed AnnData with backed mode not r+")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}, expected a positive number")
    if adata.X.dtype.kind != "f":
        raise TypeError(f"adata.X is {adata.X.dtype.name} in its file, which cannot hold logarithms; expected floats")
    for chunk, start, end in adata.chunked_X(chunk_size):
        adata.X[start:end] = _core.log1p(chunk, base=base)
