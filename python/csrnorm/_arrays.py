"""How arrays of numpy and scipy look to the C library: which types it reads, and views without a copy.

Everything that reaches the library from host memory passes through here, so that one place decides what goes in as it
is, what is converted first (int8, int16, uint64, float16, byte-swapped, strided), and what is refused.

Names for other modules of the package:

- ``layout(x)``: ``"csr"``, ``"csc"`` or ``"dense"``; TypeError for anything else.
- ``result_dtype(dtype)``: float64 for float64, else float32.
- ``readable(data)``: the array itself, or one that the library can read, and whether that is a fresh one.
- ``plain(values, dtype)``: an array that the library can read, a new one only where `values` is none.
- ``halves(x)``: 64-bit integers as two matrices of which no sum overflows.
- ``writable_in_place(data)``: whether results can go into this array.
- ``VALUES``: the types of values that the library reads.
- ``address(array)``, ``code(dtype)``: pointer and ``csrn_dtype`` for the library.
- ``SparseView(x)``: ``.pointer`` (for the library), ``.data``, ``.fresh``, ``.per(axis)`` (its axis for one of numpy),
  ``.check()`` (of the indices, which the library trusts otherwise).
- ``DenseView(block, indices=None)``: the same for a C-contiguous 2-D block.
- ``with_data(x, data)``: a sparse matrix like `x` with other values.
"""

from __future__ import annotations

from ctypes import addressof, byref, c_char
from typing import Any

import numpy as np

from ._library import Axis, Csr, Dtype, call

_NAMED = {
    "f4": Dtype.F32, "f8": Dtype.F64, "u1": Dtype.U8, "u2": Dtype.U16, "u4": Dtype.U32, "u8": Dtype.U64,
    "i4": Dtype.I32, "i8": Dtype.I64, "b1": Dtype.U8,
}  # fmt: skip
#: By numpy's types in native byte order. C has two names for some sizes, and numpy a type for each.
_CODES = {
    dtype: int(_NAMED[dtype.str[1:]]) for dtype in map(np.dtype, "?BHIiLlQqfd") if dtype.str[1:] in _NAMED
}  # fmt: skip
#: Types of values that the library reads.
VALUES = {dtype for dtype, value in _CODES.items() if value != Dtype.U64}
_first_byte = c_char.from_buffer
_WIDER = {("i", 1): np.int32, ("i", 2): np.int32, ("f", 2): np.float32}


def code(dtype: np.dtype) -> int:
    """Return the library's code of a type that it has."""
    return _CODES[dtype]


def address(array: np.ndarray) -> int:
    """Return where the elements lie."""
    try:
        return addressof(_first_byte(array))
    except (TypeError, ValueError):  # read-only or empty: the same by a way that takes twice as long
        return array.__array_interface__["data"][0]


def layout(x: Any) -> str:
    """Return "csr", "csc" or "dense", or raise TypeError for what is none of them."""
    if isinstance(x, np.ndarray):
        if not isinstance(x, np.ma.MaskedArray):
            return "dense"
    elif (kind := getattr(x, "format", None)) in ("csr", "csc"):
        if isinstance(getattr(x, "data", None), np.ndarray) and x.ndim == 2:
            return kind
    raise TypeError(f"x is a {type(x).__module__}.{type(x).__qualname__}, expected a CSR or CSC matrix or an array")


def result_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type of normalized values of `dtype`, as scanpy has it; raise TypeError for what are no numbers."""
    try:
        dtype = np.dtype(dtype)
    except TypeError:  # of another package
        raise TypeError(f"the values are {dtype}: expected a CSR or CSC matrix or an array, of numpy or on a GPU") from None
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise TypeError(f"the values are {dtype.name}, expected integers, bool, float16, float32 or float64")
    return np.dtype(np.float64 if dtype.kind == "f" and dtype.itemsize == 8 else np.float32)


def plain(values: Any, dtype: Any = None) -> np.ndarray:
    """Return an array of `dtype` that the library can read: contiguous, and aligned, which arrays inside of a message
    between processes are not.
    """
    if type(values) is np.ndarray and values.flags.c_contiguous and values.flags.aligned:
        if dtype is None or values.dtype == dtype:
            return values
    return np.require(values, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def readable(data: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return `data` where the library can read it, else a fresh array of the same values; and whether it is fresh.

    No value is rounded, but in uint64 with integers from 2**63 on (all to float64).
    """
    if data.dtype in VALUES and data.flags.c_contiguous and data.flags.aligned:
        return data, False
    result_dtype(data.dtype)
    dtype = data.dtype.newbyteorder("=")
    wider: Any = _WIDER.get((dtype.kind, dtype.itemsize), dtype)
    if dtype == np.uint64:
        if data.size and data.max() > np.iinfo(np.int64).max:
            wider = np.float64
        elif data.dtype.isnative and data.flags.c_contiguous and data.flags.aligned:
            return data.view(np.int64), False  # below 2**63 both have the same bits
        else:
            wider = np.int64
    return plain(data, wider), True


def writable_in_place(data: np.ndarray) -> bool:
    """Say whether results can be written into `data`."""
    return data.dtype in (np.float32, np.float64) and data.dtype.isnative and data.flags.carray


def _index_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} is {array.dtype.name}, expected integers")
    if array.dtype not in _CODES:
        array = array.astype(np.int64 if array.dtype.itemsize > 2 else np.int32)
    return plain(array)


def _struct(shape: tuple[int, int], indptr: np.ndarray, indices: np.ndarray | None, data: np.ndarray) -> Csr:
    return Csr(
        shape[0],
        shape[1],
        data.size,
        address(indptr),
        None if indices is None else address(indices),
        address(data),
        code(indptr.dtype),
        Dtype.NONE if indices is None else code(indices.dtype),
        code(data.dtype),
    )


class SparseView:
    """A scipy matrix as the library sees it: a CSC matrix is the CSR of its transpose.

    Attributes
    ----------
    csr
        The struct, of stored rows.
    data
        The values that `csr` points to: those of `x`, or converted ones.
    fresh
        Whether `data` is a converted array that nobody else has.
    """

    __slots__ = ("_kept", "by_row", "csr", "data", "fresh")

    def __init__(self, x: Any) -> None:
        self.by_row = layout(x) == "csr"
        self.data, self.fresh = readable(x.data)
        indptr, indices = _index_array(x.indptr, "indptr"), _index_array(x.indices, "indices")
        if indices.size != self.data.size:
            raise ValueError(f"indices has {indices.size} entries, expected {self.data.size}, as data has")
        rows, columns = x.shape if self.by_row else x.shape[::-1]
        if indptr.size != rows + 1:
            raise ValueError(f"indptr has {indptr.size} entries, expected {rows + 1}")
        self.csr = _struct((rows, columns), indptr, indices, self.data)
        self._kept = indptr, indices

    def per(self, axis: int) -> Axis:
        """Return the library's axis for one result per row of `x` (`axis` 0) or per column (1)."""
        return Axis.PER_ROW if (axis == 0) == self.by_row else Axis.PER_COLUMN

    def check(self) -> None:
        """Raise InvalidMatrixError for an index that is none: to be called where results are looked up by indices."""
        call("csr_check", self.pointer)

    @property
    def pointer(self):
        """What a function of the library takes."""
        return byref(self.csr)


class DenseView:
    """A C-contiguous two-dimensional block as the library sees it: a CSR matrix in which every entry is stored.

    `indices` (the columns of all entries, row by row) is needed only where columns matter.
    """

    __slots__ = ("_kept", "csr")

    def __init__(self, block: np.ndarray, indices: np.ndarray | None = None) -> None:
        rows, columns = block.shape
        indptr = np.arange(rows + 1, dtype=np.int64) * columns
        self.csr = _struct((rows, columns), indptr, indices, block)
        self._kept = indptr, indices, block

    @property
    def pointer(self):
        """What a function of the library takes."""
        return byref(self.csr)


def halves(x: Any) -> tuple[Any, Any]:
    """Return a matrix or array of 64-bit integers as high and low halves, x = high * 2**32 + low: sums of either fit
    64 bits.
    """
    data = x if isinstance(x, np.ndarray) else x.data
    parts = (data >> data.dtype.type(32)).astype(np.int64), data.astype(np.uint32)
    if data is x:
        return parts
    high, low = (type(x)((part, x.indices, x.indptr), shape=x.shape) for part in parts)
    return high, low


def with_data(x: Any, data: np.ndarray) -> Any:
    """Return a matrix like `x` with the values `data` and its own copies of indices and indptr; a plain one where `x`
    is one of a view of an AnnData, which would act on that.
    """
    kind = next(kind for kind in type(x).__mro__ if not kind.__module__.startswith("anndata."))
    return kind((data, x.indices.copy(), x.indptr.copy()), shape=x.shape)
