"""CSR, CSC and dense matrices in GPU memory: cupy's and torch's, found by their interface and worked on in place.

Neither package is imported. Arrays are taken through ``__cuda_array_interface__``, and the work is enqueued on the
stream that is current in the package they come from, without waiting for it. A library without CUDA answers
``NotBuiltError``, a machine without a GPU ``NoDeviceError``.

Names for other modules of the package: ``is_device``, ``copied``, ``on_host``, ``share_values``, ``row_totals``, and by
the names that they have for matrices in host memory ``normalize``, ``normalize_with``, ``log1p``, ``axis_sum``,
``axis_mul_or_truediv``, ``median_positive``, ``highly_expressed``, ``check_indices``.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import nullcontext
from ctypes import byref
from operator import mul, truediv
from typing import Any

import numpy as np

from ._arrays import VALUES, code
from ._core import Normalized, log_base, options, parse_target
from ._library import Axis, Backend, Csr, Dtype, ScaleOp, ZeroPolicy, call, check, context, keep_stream, lib


def _parts(x: Any) -> Any:
    """Return indptr, indices and values of what looks like a sparse matrix of cupy or torch, else None."""
    if getattr(x, "format", None) in ("csr", "csc") and hasattr(x, "indptr"):
        return x.indptr, x.indices, x.data
    kind = str(getattr(x, "layout", ""))
    if kind == "torch.sparse_csr":
        return x.crow_indices(), x.col_indices(), x.values()
    if kind == "torch.sparse_csc":
        return x.ccol_indices(), x.row_indices(), x.values()
    return None


def _package_of(array: Any) -> Any:
    """Return the package that an array comes from: cupy or torch, also where its type was derived elsewhere."""
    packages = [sys.modules.get(kind.__module__.partition(".")[0]) for kind in type(array).__mro__]
    return next((package for package in packages if _has_streams(package)), None)


def _is_torch(package: Any) -> bool:
    return hasattr(getattr(package, "cuda", None), "current_stream")


def _has_streams(package: Any) -> bool:
    return _is_torch(package) or hasattr(getattr(package, "cuda", None), "get_current_stream")


def is_device(x: Any) -> bool:
    """Say whether `x` is a matrix, or a dense array, in GPU memory."""
    if isinstance(x, np.ndarray):
        return False
    parts = _parts(x)
    if parts is None:
        return hasattr(x, "__cuda_array_interface__") and _has_streams(_package_of(x))
    return not isinstance(parts[2], np.ndarray) and hasattr(parts[2], "__cuda_array_interface__")


class _DeviceArray:
    """One contiguous array in GPU memory."""

    def __init__(self, array: Any, name: str, written: bool = False, dimensions: int = 1) -> None:
        interface = array.__cuda_array_interface__
        self.address, read_only = interface["data"]
        self.dtype, self.shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
        if len(self.shape) != dimensions:
            raise ValueError(f"{name} has {len(self.shape)} dimensions, expected {dimensions}")
        self.size = int(np.prod(self.shape, dtype=np.int64))
        if not self._is_contiguous(interface.get("strides")):
            raise ValueError(f"{name} is not contiguous")
        if written and read_only:
            raise ValueError(f"{name} is read-only and cannot be worked on in place")

    def _is_contiguous(self, strides: Any) -> bool:
        """Say whether the elements lie one after the other, row by row; strides of what has one place do not matter."""
        step = self.dtype.itemsize
        for length, stride in zip(self.shape[::-1], () if strides is None else tuple(strides)[::-1]):
            if length > 1 and stride != step and self.size:
                return False
            step *= length
        return True


def _index_code(array: _DeviceArray, name: str) -> int:
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 4:
        raise TypeError(f"{name} is {array.dtype.name}, expected 32-bit or 64-bit integers on a device")
    return code(array.dtype)


class DeviceView:
    """A matrix in GPU memory as the library sees it, and the context that works on it.

    A dense array is a CSR matrix in which every entry is stored, without indices: what needs these is refused.
    """

    def __init__(self, x: Any, written: bool, by_column: bool = False) -> None:
        parts = _parts(x)
        self.dense = parts is None
        array: Any = x if parts is None else parts[2]
        self.data = _DeviceArray(array, "x" if self.dense else "data", written, 2 if self.dense else 1)
        if written and self.data.dtype not in (np.float32, np.float64):
            raise TypeError(f"the values are {self.data.dtype.name}, expected float32 or float64 on a device")
        if self.data.dtype not in VALUES:
            raise TypeError(
                f"the values are {self.data.dtype.name}, expected float32, float64, bool, or integers of uint8 to "
                "int64 (not int8, int16, uint64) on a device"
            )
        if self.dense and by_column:
            raise TypeError("x is a dense array on a device, where only rows can be worked on; expected CSR or CSC")
        if len(x.shape) != 2:
            raise ValueError(f"x has {len(x.shape)} dimensions, expected 2")
        self._kept = [array]  # what nobody else may have: memory that is given back could be used for the results
        self.package, self.device = _package_of(array), _device_number(array)
        self.by_row = self.dense or "csr" in (getattr(x, "format", None), str(getattr(x, "layout", ""))[-3:])
        self._struct(x, parts)
        self.handle = context(self.device, Backend.BACKEND_CUDA)
        stream = _current_stream(self.package, self.device)
        call("context_set_stream", _stream_handle(stream), handle=self.handle)
        keep_stream(self.handle, stream)

    def _struct(self, x: Any, parts: Any) -> None:
        rows, columns = x.shape if self.by_row else tuple(x.shape)[::-1]
        indptr, indices = (self._dense_indptr(rows, columns), None) if parts is None else parts[:2]
        self._kept += [indptr, indices]
        self.indptr = _DeviceArray(indptr, "indptr")
        self.indices = None if indices is None else _DeviceArray(indices, "indices")
        self.csr = Csr(
            rows, columns, self.data.size, self.indptr.address,
            None if self.indices is None else self.indices.address, self.data.address,
            _index_code(self.indptr, "indptr"),
            Dtype.NONE if self.indices is None else _index_code(self.indices, "indices"), code(self.data.dtype),
        )  # fmt: skip
        if self.indptr.size != rows + 1:
            raise ValueError(f"indptr has {self.indptr.size} entries, expected {rows + 1}")
        if self.indices is not None and self.indices.size != self.data.size:
            raise ValueError(f"indices has {self.indices.size} entries, expected {self.data.size}, as data has")

    def _dense_indptr(self, rows: int, columns: int) -> Any:
        if _is_torch(self.package):
            return self.package.arange(rows + 1, dtype=self.package.int64, device=f"cuda:{self.device}") * columns
        with _on(self.package, self.device):
            return self.package.arange(rows + 1, dtype="int64") * columns

    def per(self, axis: int) -> Axis:
        """Return the library's axis for one result per row (`axis` 0) or column (1)."""
        return Axis.PER_ROW if (axis == 0) == self.by_row else Axis.PER_COLUMN

    def empty(self, size: int, dtype: Any = None) -> Any:
        """Return a new array on the device, of the values' type unless given."""
        name = self.data.dtype.name if dtype is None else np.dtype(dtype).name
        if _is_torch(self.package):
            return self.package.empty(size, dtype=getattr(self.package, name), device=f"cuda:{self.device}")
        with _on(self.package, self.device):
            return self.package.empty(size, dtype=name)

    def array(self, values: Any, dtype: Any) -> Any:
        """Return `values`, from wherever they are, in one dimension on the device."""
        if _is_torch(self.package):
            wanted = getattr(self.package, np.dtype(dtype).name)
            return self.package.as_tensor(values, dtype=wanted, device=f"cuda:{self.device}").reshape(-1).contiguous()
        with _on(self.package, self.device):
            return self.package.ascontiguousarray(self.package.asarray(values, dtype=dtype).ravel())


def copied(x: Any) -> Any:
    """Return a copy on the same device."""
    with _where(x):
        return x.clone() if hasattr(x, "clone") else x.copy()


def on_host(array: Any) -> np.ndarray:
    """Return what an array on a device holds, when the work on it is done."""
    return array.get() if hasattr(array, "get") else array.cpu().numpy()


def _extent(x: Any) -> tuple[int, int]:
    """Return where the values of a matrix or array begin in GPU memory, and where they end."""
    parts = _parts(x)
    interface = (x if parts is None else parts[2]).__cuda_array_interface__
    first, step = interface["data"][0], np.dtype(interface["typestr"]).itemsize
    size, strides = int(np.prod(interface["shape"], dtype=np.int64)), interface.get("strides")
    if strides is None or not size:
        return first, first + size * step
    reach = [(length - 1) * stride for length, stride in zip(interface["shape"], strides)]
    return first + sum(way for way in reach if way < 0), first + sum(way for way in reach if way > 0) + step


def share_values(x: Any, other: Any) -> bool:
    """Say whether the values of two matrices or arrays in GPU memory may lie in one buffer."""
    (first, end), (other_first, other_end) = _extent(x), _extent(other)
    return first < other_end and other_first < end


def _converted(x: Any, dtype: Any) -> Any:
    """Return a matrix or array of another type: a new one in any case."""
    if hasattr(x, "clone"):
        return x.to(getattr(_package_of(x), np.dtype(dtype).name), copy=True)
    with _where(x):
        return x.astype(dtype)


def _device_number(data: Any) -> int:
    device: Any = getattr(data, "device", None)
    number = getattr(device, "index", None) if getattr(device, "id", None) is None else device.id
    return 0 if number is None else int(number)


def _on(package: Any, device: int) -> Any:
    """Make `device` the current one of cupy, which allocates there, and has a current stream for each."""
    # torch looks at the device of its tensors itself; its `cuda.Device` is a type.
    is_cupy = not _is_torch(package) and hasattr(getattr(package, "cuda", None), "Device")
    return package.cuda.Device(device) if is_cupy else nullcontext()


def _where(x: Any) -> Any:
    """Make the device current on which the matrix or array `x` lies: what cupy then does with it is done there."""
    parts = _parts(x)
    array = x if parts is None else parts[2]
    return _on(_package_of(array), _device_number(array))


def _current_stream(package: Any, device: int) -> Any:
    """Return the stream that is current on `device` in cupy or torch; None: the default one."""
    cuda: Any = getattr(package, "cuda", None)
    if hasattr(cuda, "get_current_stream"):
        with _on(package, device):
            return cuda.get_current_stream()
    return cuda.current_stream(device) if hasattr(cuda, "current_stream") else None


def _stream_handle(stream: Any) -> int | None:
    return getattr(stream, "ptr", None) or getattr(stream, "cuda_stream", None) or None


def normalize(
    x: Any, target_sum: Any, *, exclude_highly_expressed: bool, max_fraction: float, log1p: bool, base: float | None
) -> Normalized:
    """Normalize in place. The target stays on the device (here NaN); the mask of excluded genes is an array there."""
    view = DeviceView(x, written=True, by_column=exclude_highly_expressed)
    chosen = options(
        parse_target(target_sum), axis=view.per(0), exclude=exclude_highly_expressed, max_fraction=max_fraction,
        log1p=log1p, base=base,
    )  # fmt: skip
    factors = view.empty(x.shape[0])
    excluded = view.empty(x.shape[1], bool) if exclude_highly_expressed else None
    chosen.excluded = None if excluded is None else _DeviceArray(excluded, "excluded").address
    call(
        "normalize_total", byref(view.csr), byref(chosen), view.data.address, code(view.data.dtype),
        _DeviceArray(factors, "factors").address, None, handle=view.handle,
    )  # fmt: skip
    return Normalized(x, factors, excluded, float("nan"))


def row_totals(x: Any, excluded: np.ndarray | None = None) -> np.ndarray:
    """Return the float64 total of each row, without the columns of a boolean mask, in host memory, where Dask puts those
    of all blocks together.
    """
    view = DeviceView(x, written=False, by_column=excluded is not None)
    mask = None if excluded is None else view.array(excluded, bool)
    totals = view.empty(x.shape[0], np.float64)
    call(
        "axis_sum_excluding", byref(view.csr), view.per(0),
        None if mask is None else _DeviceArray(mask, "excluded").address, _DeviceArray(totals, "totals").address,
        code(np.dtype(np.float64)), handle=view.handle,
    )  # fmt: skip
    check(lib.context_synchronize(view.handle), view.handle)  # else totals that were never written look like any others
    return on_host(totals)


def normalize_with(x: Any, totals: np.ndarray, target: float, *, log1p: bool, base: float | None) -> Any:
    """Scale each cell in place by the total and the target given."""
    view = DeviceView(x, written=True)
    chosen = options(axis=view.per(0), log1p=log1p, base=base)
    given, goal = view.array(totals, np.float64), view.array([target], np.float64)
    call(
        "normalize_with", byref(view.csr), _DeviceArray(given, "totals").address, _DeviceArray(goal, "target").address,
        byref(chosen), view.data.address, code(view.data.dtype), None, None, handle=view.handle,
    )  # fmt: skip
    return x


def log1p(x: Any, base: float | None) -> Any:
    """Take log(1 + x) in place."""
    view = DeviceView(x, written=True)
    call(
        "log1p", byref(view.csr), ctypes.c_double(log_base(base)), view.data.address, code(view.data.dtype),
        handle=view.handle,
    )  # fmt: skip
    return x


def axis_sum(x: Any, axis: int | None, exact: dict[str, Any], dtype: Any) -> Any:
    """Sum per column (`axis` 0), per row (1) or all (None, added by the package), in the type that `exact` names."""
    view = DeviceView(x, written=False, by_column=axis == 0)
    wide = np.dtype(exact[view.data.dtype.kind])
    per = 0 if axis is None else 1 - axis
    sums = view.empty(x.shape[per], wide)
    call(
        "axis_sum", byref(view.csr), view.per(per), _DeviceArray(sums, "sums").address, code(wide), handle=view.handle
    )  # fmt: skip
    if axis is None:
        sums = _total(sums)
    return sums if dtype is None or np.dtype(dtype) == wide else _converted(sums, dtype)


def _total(sums: Any) -> Any:
    if hasattr(sums, "clone") and str(sums.dtype) == "torch.uint64":  # torch adds no unsigned integers on every device
        torch = _package_of(sums)
        return sums.view(torch.int64).sum().view(torch.uint64)
    with _where(sums):
        return sums.sum()


def _dtype_of(values: Any) -> np.dtype:
    interface = getattr(values, "__cuda_array_interface__", None)
    return np.asarray(values).dtype if interface is None else np.dtype(interface["typestr"])


def axis_mul_or_truediv(
    x: Any, scaling_array: Any, axis: int, op: Callable, *, allow_divide_by_zero: bool, out: Any
) -> Any:
    """Scale rows or columns, in place where `out` is `x`."""
    if axis not in (0, 1):
        raise ValueError(f"axis is {axis!r}, expected 0 or 1")
    if op not in (mul, truediv):
        raise ValueError(f"{op} not one of truediv or mul")
    if out is not None and out is not x:
        raise ValueError("out is another matrix, expected x itself or None on a device")
    view = DeviceView(x, written=False, by_column=axis == 1)
    dtype = op(np.ones(1, view.data.dtype), np.ones(1, _dtype_of(scaling_array))).dtype
    if dtype not in (np.float32, np.float64) or (out is x and dtype != view.data.dtype):
        expected = "float32 or float64" if out is None else f"{view.data.dtype.name}, as x is,"
        raise TypeError(f"the results are {dtype.name}, expected {expected} on a device")
    factors = view.array(scaling_array, dtype)
    given = _DeviceArray(factors, "scaling_array")
    if given.size != x.shape[axis]:
        raise ValueError(f"scaling_array has {given.size} entries, expected {x.shape[axis]}")
    made = x if out is x else _converted(x, dtype)
    view = DeviceView(made, written=True, by_column=axis == 1)
    call(
        "axis_scale", byref(view.csr), view.per(axis), ScaleOp.DIVIDE if op is truediv else ScaleOp.MULTIPLY,
        given.address, code(dtype), ZeroPolicy.ZERO_IEEE if allow_divide_by_zero else ZeroPolicy.ZERO_AS_ONE,
        view.data.address, code(dtype), handle=view.handle,
    )  # fmt: skip
    return made


def highly_expressed(x: Any, max_fraction: float) -> Any:
    """Return the mask of genes, on the device."""
    view = DeviceView(x, written=False, by_column=True)
    mask = view.empty(x.shape[1], bool)
    call(
        "highly_expressed", byref(view.csr), view.per(0), float(max_fraction), _DeviceArray(mask, "mask").address,
        handle=view.handle,
    )  # fmt: skip
    return mask


def check_indices(x: Any) -> None:
    """Raise InvalidMatrixError unless indptr and indices describe a matrix; this waits for the device."""
    view = DeviceView(x, written=False)
    if not view.dense:
        call("csr_check", byref(view.csr), handle=view.handle)


def median_positive(values: Any) -> float:
    """Return the median of the positive finite values; this waits for the device."""
    if _parts(values) is not None:
        raise TypeError("values are a sparse matrix, expected an array of real numbers")
    if _dtype_of(values).kind not in "biuf":
        raise TypeError("values are no real numbers, expected an array of these")
    with _where(values):
        row = values.reshape(1, -1)  # a copy where values do not lie one after the other
    view = DeviceView(_converted(row, np.float64), written=False)
    if not view.data.size:
        return float("nan")
    median = view.empty(1)
    call(
        "median_positive", view.data.address, view.data.size, _DeviceArray(median, "median").address, handle=view.handle
    )  # fmt: skip
    check(lib.context_synchronize(view.handle), view.handle)
    return float(on_host(median)[0])
