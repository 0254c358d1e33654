"""The C library as Python sees it: where it lies, its types and signatures, its errors, a context for every thread.

This is the only module that knows ctypes. ``tests/python/test_abi.py`` holds what is declared here against
``include/csrnorm/csrnorm.h``: every signature, every offset, every value. ctypes gives up the GIL during a call, so
other threads of Python run while the library works.

Names for other modules of the package: ``lib``, ``context``, ``keep_stream``, ``check``, ``call``, ``Csr``, ``NormalizeOptions``,
``NormalizeReport``, ``Dtype``, ``Axis``, ``ScaleOp``, ``ZeroPolicy``, ``Target``, ``Backend``, ``Status``.
"""

from __future__ import annotations

import ctypes
import operator
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, Structure, byref, c_char, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_void_p
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

# ---- Enumerations, by the names of the header ----------------------------------------------------------------------


class Status(IntEnum):
    OK = 0
    INVALID_ARGUMENT = 1
    INVALID_MATRIX = 2
    OVERFLOW = 3
    OUT_OF_MEMORY = 4
    NOT_BUILT = 5
    NO_DEVICE = 6
    UNSUPPORTED = 7
    DEVICE_ERROR = 8


class Dtype(IntEnum):
    NONE = 0
    F32 = 1
    F64 = 2
    U8 = 3
    U16 = 4
    U32 = 5
    U64 = 6
    I32 = 7
    I64 = 8


class Axis(IntEnum):
    PER_ROW = 0
    PER_COLUMN = 1


class ScaleOp(IntEnum):
    MULTIPLY = 0
    DIVIDE = 1


class ZeroPolicy(IntEnum):
    ZERO_IEEE = 0
    ZERO_AS_ONE = 1


class Backend(IntEnum):
    BACKEND_AUTO = 0
    BACKEND_CPU = 1
    BACKEND_CUDA = 2


class Target(IntEnum):
    TARGET_MEDIAN = 0
    TARGET_MEAN = 1
    TARGET_FIXED = 2


# ---- Structs -------------------------------------------------------------------------------------------------------


class Csr(Structure):
    """``csrn_csr``: a view of a matrix; owns nothing."""

    _fields_ = [
        ("n_rows", c_int64),
        ("n_cols", c_int64),
        ("nnz", c_int64),
        ("indptr", c_void_p),
        ("indices", c_void_p),
        ("data", c_void_p),
        ("indptr_type", c_int),
        ("indices_type", c_int),
        ("data_type", c_int),
    ]


class Allocator(Structure):
    """``csrn_allocator``; all NULL here, so its functions are declared as plain pointers."""

    _fields_ = [("allocate", c_void_p), ("release", c_void_p), ("user", c_void_p)]


class ContextOptions(Structure):
    """``csrn_context_options``."""

    _fields_ = [
        ("size", c_size_t),
        ("backend", c_int),
        ("device", c_int32),
        ("threads", c_int32),
        ("reserved", c_int32),
        ("isa", c_char_p),
        ("allocator", Allocator),
        ("device_allocator", Allocator),
        ("stream", c_void_p),
        ("device_memory", c_int64),
    ]


class NormalizeOptions(Structure):
    """``csrn_normalize_options``."""

    _fields_ = [
        ("size", c_size_t),
        ("axis", c_int),
        ("target", c_int),
        ("target_sum", c_double),
        ("exclude_highly_expressed", c_int32),
        ("log1p", c_int32),
        ("max_fraction", c_double),
        ("log_base", c_double),
        ("excluded", c_void_p),
    ]


class NormalizeReport(Structure):
    """``csrn_normalize_report``."""

    _fields_ = [
        ("target", c_double),
        ("n_zero", c_int64),
        ("n_negative", c_int64),
        ("n_nonfinite", c_int64),
        ("n_excluded", c_int64),
        ("flags", c_int64),
    ]


class DeviceProperties(Structure):
    """``csrn_device_properties``."""

    _fields_ = [
        ("size", c_size_t),
        ("backend", c_int),
        ("device", c_int32),
        ("name", c_char * 128),
        ("isa", c_char * 128),
        ("memory_bytes", c_int64),
        ("n_units", c_int32),
        ("reserved", c_int32),
    ]


#: csrn_NAME: (result, arguments). Arrays and contexts are plain addresses, enumerations C's int.
SIGNATURES = {
    "status_string": (c_char_p, [c_int]),
    "dtype_size": (c_size_t, [c_int]),
    "dtype_name": (c_char_p, [c_int]),
    "context_create": (c_int, [POINTER(ContextOptions), POINTER(c_void_p)]),
    "context_destroy": (None, [c_void_p]),
    "context_set_stream": (c_int, [c_void_p, c_void_p]),
    "context_reserve": (c_int, [c_void_p, c_int64, c_int64]),
    "context_synchronize": (c_int, [c_void_p]),
    "context_backend": (c_int, [c_void_p]),
    "context_isa": (c_char_p, [c_void_p]),
    "context_threads": (c_int32, [c_void_p]),
    "error_detail": (c_char_p, [c_void_p]),
    "buffer_allocate": (c_int, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "buffer_release": (None, [c_void_p, c_void_p, c_size_t]),
    "buffer_copy": (c_int, [c_void_p, c_void_p, c_void_p, c_size_t]),
    "buffer_exchange": (c_int, [c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_void_p, c_size_t]),
    "host_buffer_allocate": (c_int, [c_void_p, c_size_t, POINTER(c_void_p)]),
    "host_buffer_release": (None, [c_void_p, c_void_p, c_size_t]),
    "axis_sum": (c_int, [c_void_p, POINTER(Csr), c_int, c_void_p, c_int]),
    "axis_sum_excluding": (c_int, [c_void_p, POINTER(Csr), c_int, c_void_p, c_void_p, c_int]),
    "axis_scale": (c_int, [c_void_p, POINTER(Csr), c_int, c_int, c_void_p, c_int, c_int, c_void_p, c_int]),
    "median_positive": (c_int, [c_void_p, c_void_p, c_int64, c_void_p]),
    "highly_expressed": (c_int, [c_void_p, POINTER(Csr), c_int, c_double, c_void_p]),
    "normalize_total": (
        c_int,
        [c_void_p, POINTER(Csr), POINTER(NormalizeOptions), c_void_p, c_int, c_void_p, c_void_p],
    ),
    "normalize_with": (
        c_int,
        [c_void_p, POINTER(Csr), c_void_p, c_void_p, POINTER(NormalizeOptions), c_void_p, c_int, c_void_p, c_void_p],
    ),
    "log1p": (c_int, [c_void_p, POINTER(Csr), c_double, c_void_p, c_int]),
    "csr_check": (c_int, [c_void_p, POINTER(Csr)]),
    "version": (c_char_p, []),
    "build_info": (c_char_p, []),
    "device_count": (c_int, [c_int, POINTER(c_int32)]),
    "device_info": (c_int, [c_int, c_int32, POINTER(DeviceProperties)]),
}

# ---- Errors --------------------------------------------------------------------------------------------------------


class CsrnormError(Exception):
    """An error of the library, with its sentence.

    Attributes
    ----------
    status
        The status code of the library, for example ``Status.INVALID_MATRIX``.
    """

    status: Status


class InvalidArgumentError(CsrnormError, ValueError):
    """An argument is out of range or inconsistent."""

    status = Status.INVALID_ARGUMENT


class InvalidMatrixError(CsrnormError, ValueError):
    """``indptr`` or ``indices`` do not describe a matrix."""

    status = Status.INVALID_MATRIX


class SumOverflowError(CsrnormError, OverflowError):
    """An exact sum of integers does not fit into 64 bits."""

    status = Status.OVERFLOW


class NoMemoryError(CsrnormError, MemoryError):
    """There was no memory for the library's scratch space."""

    status = Status.OUT_OF_MEMORY


class NotBuiltError(CsrnormError, RuntimeError):
    """The library was built without the backend that was asked for."""

    status = Status.NOT_BUILT


class NoDeviceError(CsrnormError, RuntimeError):
    """The backend is there, but no device that it can use."""

    status = Status.NO_DEVICE


class UnsupportedError(CsrnormError, RuntimeError):
    """This machine, or a stream that is being captured, cannot do what was asked for."""

    status = Status.UNSUPPORTED


class DeviceError(CsrnormError, RuntimeError):
    """The device reported a fault."""

    status = Status.DEVICE_ERROR


_ERRORS: dict[int, type[CsrnormError]] = {error.status: error for error in CsrnormError.__subclasses__()}


def _sentence(handle: int | None) -> str:
    return lib.error_detail(handle).decode(errors="replace")


def check(status: int, handle: int | None) -> None:
    """Raise the exception that belongs to a status other than OK, with the sentence of the context `handle`."""
    if status:
        text = _sentence(handle) or lib.status_string(status).decode()
        raise _ERRORS.get(status, CsrnormError)(text)


# ---- Loading -------------------------------------------------------------------------------------------------------


def _path() -> Path:
    """Where the library lies: CSRNORM_LIBRARY, for development, else beside this file."""
    named = os.environ.get("CSRNORM_LIBRARY")
    # A bare name, unresolved, would be looked for where the system's libraries are.
    path = Path(named).resolve() if named else Path(__file__).with_name("libcsrnorm.so")
    if not path.is_file():
        where = "which CSRNORM_LIBRARY names" if named else "and CSRNORM_LIBRARY is not set"
        raise ImportError(f"csrnorm's library is not at {path}, {where}")
    return path


class _Library:
    """The functions of the library, without their prefix."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._cdll = ctypes.CDLL(str(path))
            for name, (result, arguments) in SIGNATURES.items():
                function = getattr(self._cdll, "csrn_" + name)
                function.restype = result
                function.argtypes = arguments
                setattr(self, name, function)
            # As the library asks when it makes a context; one thread without OpenMP. The GIL is kept: the call is quick.
            with_gil = ctypes.PyDLL(str(path), handle=self._cdll._handle)
            self.max_threads = getattr(with_gil, "omp_get_max_threads", lambda: 1)
        except (OSError, AttributeError) as error:  # no library, or not csrnorm's, or that of another version
            raise ImportError(f"{path} is not the library of this csrnorm: {error}") from error

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


lib = _Library(_path())

# ---- Contexts ------------------------------------------------------------------------------------------------------


class _Context:
    """Owns one context of the library."""

    def __init__(self, threads: int, device: int, backend: int) -> None:
        self.handle: int = 0
        #: What keeps the stream alive that the context was given last.
        self.stream: Any = None
        options = ContextOptions(size=ctypes.sizeof(ContextOptions), backend=backend, device=device, threads=threads)
        handle = c_void_p()
        check(lib.context_create(byref(options), byref(handle)), None)
        self.handle = handle.value or 0

    def __del__(self, destroy=lib.context_destroy) -> None:
        if self.handle:
            destroy(self.handle)
            self.handle = 0


_local = threading.local()
_threads = 0


def set_num_threads(threads: int | None) -> None:
    """Set how many threads the library uses in each call, from now on and in every thread of Python.

    Parameters
    ----------
    threads : int or None
        The number; None: as OpenMP would choose at each call (what ``threadpoolctl`` has limited it to, else
        ``OMP_NUM_THREADS``, else the number of processors), and one for matrices so small that others would take longer
        to wake up. Where the caller itself runs many threads, as the workers of Dask do, 1 is right.

    Examples
    --------
    >>> import csrnorm
    >>> csrnorm.set_num_threads(1)
    >>> csrnorm.get_num_threads()
    1
    >>> csrnorm.set_num_threads(None)
    """
    global _threads
    number = 0 if threads is None else operator.index(threads)
    if threads is not None and not 0 < number < 1 << 31:
        raise ValueError(f"threads is {threads}, expected a positive number (of 32 bits) or None")
    _threads = number


def get_num_threads() -> int:
    """Return how many threads the library uses in each call at most.

    Returns
    -------
    int
        The number in effect, also where it was left to OpenMP.

    Examples
    --------
    >>> import csrnorm
    >>> csrnorm.get_num_threads() >= 1
    True
    """
    return lib.context_threads(context())


def context(device: int = 0, backend: int = Backend.BACKEND_CPU) -> int:
    """Return the calling thread's context, made when first asked for and kept: it holds scratch memory.

    A context stays with the number of threads that OpenMP would have chosen when it was made, so there is another for
    another choice; numbers that nobody asked for are negative in the key. A context for a GPU has no threads here,
    since no array of the host is given to it; it must outlive a change of their number, as work and errors may be
    waiting in it.
    """
    if backend == Backend.BACKEND_CUDA:
        threads = 0
    else:
        threads = getattr(_local, "threads", _threads) or -lib.max_threads()
    key = (threads, device, backend)
    try:
        return _local.contexts[key].handle
    except (AttributeError, KeyError):
        pass
    contexts = getattr(_local, "contexts", {})
    # Of the old ones those of a number of threads that is no longer asked for are of no further use.
    numbers = (threads, _threads or -lib.max_threads(), 1)
    _local.contexts = {
        old: kept for old, kept in contexts.items() if old[0] in numbers or old[2] == Backend.BACKEND_CUDA
    }
    _local.contexts[key] = made = _Context(max(threads, 0), device, backend)
    return made.handle


def keep_stream(handle: int, stream: Any) -> None:
    """Keep the stream of a package alive for as long as a context of this thread orders its work by it."""
    for made in _local.contexts.values():
        if made.handle == handle:
            made.stream = stream


@contextmanager
def one_thread() -> Iterator[None]:
    """Let calls of this thread of Python use one thread of the library, where many run beside each other."""
    before = getattr(_local, "threads", None)
    _local.threads = 1
    try:
        yield
    finally:
        if before is None:
            del _local.threads
        else:
            _local.threads = before


def synchronize() -> None:
    """Wait for the work on GPUs that this thread has enqueued, and raise what went wrong there.

    What a thread has not asked for when it ends, nobody learns.

    Examples
    --------
    >>> import csrnorm
    >>> csrnorm.synchronize()
    """
    for made in getattr(_local, "contexts", {}).values():
        check(lib.context_synchronize(made.handle), made.handle)


def call(name: str, *arguments, handle: int | None = None) -> None:
    """Call csrn_`name` with a context (the calling thread's, unless given); raise what it returns as an exception."""
    if handle is None:
        handle = context()
    check(getattr(lib, name)(handle, *arguments), handle)
