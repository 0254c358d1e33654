"""CSR and CSC matrices in GPU memory: cupy's and torch's, found by their interface and worked on in place.

Neither package is imported. Arrays are taken through ``__cuda_array_interface__``, and the work is enqueued on the
stream that is current in the package they come from, without waiting for it. A library without CUDA answers
``NotBuiltError``, a machine without a GPU ``NoDeviceError``.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref
from typing import Any

import numpy as np

from ._arrays import code
from ._core import Normalized, log_base, options, parse_target
from ._library import Axis, Backend, Csr, call, check, context, lib


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


def is_device(x: Any) -> bool:
    """Say whether `x` is a sparse matrix in GPU memory."""
    if isinstance(x, np.ndarray):
        return False
    parts = _parts(x)
    return parts is not None and not isinstance(parts[2], np.ndarray) and hasattr(parts[2], "__cuda_array_interface__")


class _DeviceArray:
    """One contiguous array in GPU memory."""

    def __init__(self, array: Any, name: str, written: bool = False) -> None:
        interface = array.__cuda_array_interface__
        self.address, read_only = interface["data"]
        self.dtype, (self.size,) = np.dtype(interface["typestr"]), interface["shape"]
        if interface.get("strides") not in (None, (self.dtype.itemsize,)):
            raise ValueError(f"{name} is not contiguous")
        if written and read_only:
            raise ValueError(f"{name} is read-only and cannot be worked on in place")


class DeviceView:
    """A sparse matrix in GPU memory as the library sees it, and the context that works on it."""

    def __init__(self, x: Any, written: bool) -> None:
        indptr, indices, data = _parts(x)
        self.indptr, self.indices = _DeviceArray(indptr, "indptr"), _DeviceArray(indices, "indices")
        self.data = _DeviceArray(data, "data", written)
        if written and self.data.dtype not in (np.float32, np.float64):
            raise TypeError(f"the values are {self.data.dtype.name}, expected float32 or float64 on a device")
        self.by_row = getattr(x, "format", None) == "csr" or str(getattr(x, "layout", "")) == "torch.sparse_csr"
        rows, columns = x.shape if self.by_row else tuple(x.shape)[::-1]
        self.csr = Csr(
            rows, columns, self.data.size, self.indptr.address, self.indices.address, self.data.address,
            code(self.indptr.dtype), code(self.indices.dtype), code(self.data.dtype),
        )  # fmt: skip
        self.package: Any = sys.modules.get(type(data).__module__.partition(".")[0])
        self.device = _device_number(data)
        self.handle = context(self.device, Backend.BACKEND_CUDA)
        call("context_set_stream", _current_stream(self.package, self.device), handle=self.handle)

    def per(self, axis: int) -> Axis:
        """Return the library's axis for one result per row (`axis` 0) or column (1)."""
        return Axis.PER_ROW if (axis == 0) == self.by_row else Axis.PER_COLUMN

    def empty(self, size: int, dtype: Any = None) -> Any:
        """Return a new array on the device, of the values' type unless given."""
        name = self.data.dtype.name if dtype is None else np.dtype(dtype).name
        if hasattr(self.package, "cuda") and hasattr(self.package.cuda, "current_stream"):
            return self.package.empty(size, dtype=getattr(self.package, name), device=f"cuda:{self.device}")
        return self.package.empty(size, dtype=name)


def copied(x: Any) -> Any:
    """Return a copy on the same device."""
    return x.clone() if hasattr(x, "clone") else x.copy()


def _device_number(data: Any) -> int:
    device: Any = getattr(data, "device", None)
    number = getattr(device, "index", None) if getattr(device, "id", None) is None else device.id
    return 0 if number is None else int(number)


def _current_stream(package: Any, device: int) -> int | None:
    """Return the handle of the stream that is current on `device` in cupy or torch; None: the default one."""
    cuda: Any = getattr(package, "cuda", None)
    if hasattr(cuda, "get_current_stream"):
        with cuda.Device(device):  # cupy has a current stream for each device and tells that of the current one
            return cuda.get_current_stream().ptr or None
    if hasattr(cuda, "current_stream"):
        return cuda.current_stream(device).cuda_stream or None
    return None


def normalize(
    x: Any, target_sum: Any, *, exclude_highly_expressed: bool, max_fraction: float, log1p: bool, base: float | None
) -> Normalized:
    """Normalize in place. The target stays on the device (here NaN), as does the mask of excluded genes."""
    view = DeviceView(x, written=True)
    chosen = options(
        parse_target(target_sum), axis=view.per(0), exclude=exclude_highly_expressed, max_fraction=max_fraction,
        log1p=log1p, base=base,
    )  # fmt: skip
    factors = view.empty(x.shape[0])
    call(
        "normalize_total", byref(view.csr), byref(chosen), view.data.address, code(view.data.dtype),
        _DeviceArray(factors, "factors").address, None, handle=view.handle,
    )  # fmt: skip
    return Normalized(x, factors, None, float("nan"))


def row_totals(x: Any) -> np.ndarray:
    """Return the float64 total of each row in host memory, where Dask puts those of all blocks together."""
    view = DeviceView(x, written=False)
    totals = view.empty(x.shape[0], np.float64)
    call(
        "axis_sum", byref(view.csr), view.per(0), _DeviceArray(totals, "totals").address, code(np.dtype(np.float64)),
        handle=view.handle,
    )  # fmt: skip
    check(lib.context_synchronize(view.handle), view.handle)  # else totals that were never written look like any others
    return totals.get()


def log1p(x: Any, base: float | None) -> Any:
    """Take log(1 + x) in place."""
    view = DeviceView(x, written=True)
    call(
        "log1p", byref(view.csr), ctypes.c_double(log_base(base)), view.data.address, code(view.data.dtype),
        handle=view.handle,
    )  # fmt: skip
    return x
