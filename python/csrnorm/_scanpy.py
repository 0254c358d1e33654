"""Puts csrnorm's functions into scanpy, and takes them out again.

A function of scanpy may be known under its name in many of scanpy's modules, since they import it from each other. So
all loaded modules of scanpy are gone through, and whatever *is* the function is replaced; going back, whatever is the
replacement. A replacement hands to scanpy's own function what csrnorm does not do: arrays of other kinds, complex
numbers, more than two dimensions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from importlib import import_module
from typing import Any

import numpy as np

from . import _axis, _core, pp
from ._arrays import layout, result_dtype

_lock = threading.RLock()
_depth = 0
#: Pairs of scanpy's function and what replaces it, while replaced.
_pairs: list[tuple[Any, Callable]] = []


def _handled(x: Any) -> bool:
    """Say whether `x` is a matrix that csrnorm works on."""
    try:
        layout(x)
        result_dtype(x.dtype)
    except TypeError:
        return False
    return x.ndim == 2 and not isinstance(x, np.matrix)


def _is_plain(x: Any) -> bool:
    """Say whether `x` is an array of any number of dimensions in which log1p can go from element to element."""
    return type(x) is np.ndarray and x.flags.c_contiguous and x.dtype.kind in "biuf" and x.dtype.itemsize <= 8


def _looked_at(adata: Any, layer: str | None, obsm: str | None = None) -> Any:
    """Return the array that is meant, for a look at its type; of a view that of the whole: its own would be gathered."""
    return pp.get(getattr(adata, "_adata_ref", None) if adata.is_view else adata, layer, obsm)


def _is_registered(original: Callable, x: Any) -> bool:
    """Say whether somebody else has registered a function for the type of `x` with scanpy's."""
    dispatch = getattr(original, "dispatch", None)
    return dispatch is not None and not dispatch(type(x)).__module__.startswith("scanpy.")


def _for_normalize_total(original: Callable) -> Callable:
    @wraps(original)
    def normalize_total(adata, *args, **keywords):
        layer = args[4] if len(args) > 4 else keywords.get("layer")
        target = args[0] if args else keywords.get("target_sum")
        try:
            _core.parse_target(target)
            handled = pp.handles(_looked_at(adata, layer, keywords.get("obsm")))
        except (TypeError, KeyError, ValueError, AttributeError):
            handled = False
        return (pp.normalize_total if handled else original)(adata, *args, **keywords)

    return normalize_total


def _for_log1p(original: Callable) -> Callable:
    @wraps(original)
    def log1p(*args, **keywords):
        data = args[0] if args else keywords.get("data", keywords.get("X"))
        if _is_registered(original, data) or np.ndim(keywords.get("base")) > 0:
            handled = False
        elif pp.is_anndata(data):
            try:
                x = _looked_at(data, keywords.get("layer"), keywords.get("obsm"))
            except (KeyError, ValueError):
                x = None
            handled = pp.handles(x)
        else:
            handled = _handled(data) or _is_plain(data)
        return (pp.log1p if handled else original)(*args, **keywords)

    return log1p


def _sum_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type of numpy's and scipy's sums of `dtype`."""
    return np.zeros(0, dtype=dtype).sum().dtype


def _for_axis_sum(original: Callable) -> Callable:
    @wraps(original)
    def axis_sum(x, *, axis=None, dtype=None):
        if not _handled(x):
            return original(x, axis=axis, dtype=dtype)
        sums = _axis.axis_sum(x, axis=axis, dtype=_sum_dtype(x.dtype) if dtype is None else dtype)
        # scipy's matrices, unlike its arrays, have two dimensions everywhere.
        if sums.ndim and _is_spmatrix(x):
            return sums.reshape((1, -1) if _per_column(axis) else (-1, 1)).view(np.matrix)  # asmatrix() would warn
        return sums

    return axis_sum


def _per_column(axis: Any) -> bool:
    return (axis[0] if isinstance(axis, tuple) else axis) in (0, -2)


def _is_spmatrix(x: Any) -> bool:
    module = sys.modules.get("scipy.sparse")
    return module is not None and isinstance(x, module.spmatrix)


def _for_axis_mul_or_truediv(original: Callable) -> Callable:
    @wraps(original)
    def axis_mul_or_truediv(x, /, scaling_array, axis, op, *, allow_divide_by_zero=True, out=None):
        handled = (
            _handled(x)
            and isinstance(scaling_array, np.ndarray)
            and scaling_array.dtype.kind in "biuf"
            and axis in (0, 1)
            and scaling_array.size == x.shape[axis]
        )
        function = _axis.axis_mul_or_truediv if handled else original
        return function(x, scaling_array, axis, op, allow_divide_by_zero=allow_divide_by_zero, out=out)

    return axis_mul_or_truediv


_REPLACEMENTS = {
    ("scanpy.preprocessing", "normalize_total"): _for_normalize_total,
    ("scanpy.preprocessing", "log1p"): _for_log1p,
    ("scanpy._utils", "axis_sum"): _for_axis_sum,
    ("scanpy._utils", "axis_mul_or_truediv"): _for_axis_mul_or_truediv,
}


def _modules() -> Iterator[Any]:
    for name, module in list(sys.modules.items()):
        if module is not None and (name == "scanpy" or name.startswith("scanpy.")):
            yield module


def _exchange(old: Any, new: Any) -> None:
    """Put `new` wherever a module of scanpy has `old`."""
    for module in _modules():
        for name, value in list(vars(module).items()):
            if value is old:
                setattr(module, name, new)


def _begin() -> None:
    """Exchange the functions, unless they are exchanged already."""
    global _depth
    with _lock:
        if _depth == 0:
            for (module, name), make in _REPLACEMENTS.items():
                original = getattr(import_module(module), name, None)
                if original is not None:
                    replacement = make(original)
                    _pairs.append((original, replacement))
                    _exchange(original, replacement)
        _depth += 1


def _end() -> None:
    """Exchange them back, unless another acceleration needs them."""
    global _depth
    with _lock:
        _depth -= 1
        if _depth == 0:
            for original, replacement in _pairs:
                _exchange(replacement, original)
            _pairs.clear()


class Acceleration:
    """What ``accelerate_scanpy()`` returns: ends the acceleration, also at the end of a ``with`` block.

    It may be used for several blocks, one after the other or one in another.
    """

    def __init__(self) -> None:
        _begin()
        self._active, self._blocks = True, 0

    def restore(self) -> None:
        """Give scanpy its functions back. A second call does nothing."""
        with _lock:
            if self._active:
                self._active = False
                _end()

    def __enter__(self) -> Acceleration:
        with _lock:
            if not self._active:
                _begin()
                self._active = True
            self._blocks += 1
        return self

    def __exit__(self, *_exception: object) -> None:
        with _lock:
            self._blocks -= 1
            if not self._blocks:
                self.restore()


def accelerate_scanpy() -> Acceleration:
    """Replace scanpy's functions by csrnorm's: a pipeline gets faster with no other change.

    Replaced are ``scanpy.pp.normalize_total`` and ``scanpy.pp.log1p``, and the internal functions ``axis_sum`` and
    ``axis_mul_or_truediv`` that others of scanpy's functions use, in every module of scanpy that knows them.
    Names that your own code has imported from scanpy before (``from scanpy.pp import log1p``) stay what they are.

    Returns
    -------
    Acceleration
        Its ``restore()`` undoes it; as a context manager it does so at the end of the block. Calls may be nested: the
        last ``restore()`` counts. Where the object is thrown away, scanpy stays accelerated until the process ends.

    Examples
    --------
    >>> import scanpy as sc, csrnorm
    >>> before = sc.pp.log1p
    >>> with csrnorm.accelerate_scanpy():
    ...     sc.pp.log1p is before
    False
    >>> sc.pp.log1p is before
    True
    """
    return Acceleration()
