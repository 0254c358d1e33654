"""What happens in the processes that peers.py starts: one that compares and times all candidates on one matrix, and for
each candidate and operation one for the time of its first call and one for its memory.
"""

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import peers_candidates as candidates
import scipy.sparse as sp
from simulated_counts import share_arrays, simulate

CHUNK = 4_000_000
EPSILON = float(np.finfo(np.float32).eps)


# ---- What is right -------------------------------------------------------------------------------------------------


class Oracle:
    """The results by numpy, in float64 where it matters, some rows at a time."""

    def __init__(self, matrix, max_fraction=0.05):
        self.matrix, self.kept = matrix, (None, None)
        counts = matrix.data.astype(np.float64)
        starts = matrix.indptr[:-1]
        assert (np.diff(matrix.indptr) > 0).all(), "the comparison is made for cells that have counts"
        self.totals = np.add.reduceat(counts, starts)
        self.gene_totals = np.bincount(matrix.indices, counts, matrix.shape[1])
        marked = np.zeros(matrix.shape[1], bool)
        marked[matrix.indices[counts > max_fraction * np.repeat(self.totals, np.diff(matrix.indptr))]] = True
        counts[marked[matrix.indices]] = 0
        self.totals_excluding = np.add.reduceat(counts, starts)

    def sums(self, operation):
        return {"row_sums": self.totals, "column_sums": self.gene_totals}.get(operation)

    def _normalized(self, operation, first, last, data):
        if operation == "log1p":
            return data
        totals = self.totals_excluding if "exclude" in operation else self.totals
        target = candidates.TARGET if "fixed" in operation else np.median(totals[totals > 0])
        factors = totals[first:last].astype(np.float32) / np.float32(target)
        factors[factors == 0] = 1
        return data / np.repeat(factors, np.diff(self.matrix.indptr[first:last + 1]))

    def expected(self, operation):
        """All of values(), kept for the next candidate with this operation."""
        if self.kept[0] != operation:
            self.kept = operation, None  # so that not two of them take memory
            self.kept = operation, list(self.values(operation))
        return self.kept[1]

    def values(self, operation):
        """Pairs of a slice of the values and what they must be, as float32, or float64 where logarithms are taken."""
        indptr = self.matrix.indptr
        first = 0
        while first < self.matrix.shape[0]:
            last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + CHUNK, "right")) - 1)
            span = slice(indptr[first], indptr[last])
            expected = self._normalized(operation, first, last, self.matrix.data[span])
            yield span, np.log1p(expected.astype(np.float64)) if "log1p" in operation else expected
            first = last


def relative_error(got, expected):
    """The largest relative error in units of float32's last place."""
    if np.array_equal(got, expected):
        return 0.0
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(got - expected) / (np.abs(expected) * EPSILON)
    error[got == expected] = 0
    return float(error.max(initial=0)) if not np.isnan(error).any() else float("inf")


def verdict(oracle, operation, result, tolerance):
    """("ok" or "wrong", the largest error); to the bit where the tolerance is 0, logarithms within one unit then."""
    sums = oracle.sums(operation)
    if sums is not None:
        error = relative_error(result, sums)
    else:
        error = max(relative_error(result[span], expected) for span, expected in oracle.expected(operation))
    allowed = tolerance or (1 if "log1p" in operation else 0)
    return "ok" if error <= allowed else "wrong", error


# ---- The roofline --------------------------------------------------------------------------------------------------


def rooflines(threads):
    """Two loops of numba over an array, with all threads: x *= c in place, and a sum in any order."""
    import numba

    numba.set_num_threads(threads)

    @numba.njit(parallel=True)
    def scale(values, factor):
        for i in numba.prange(values.size):
            values[i] *= factor

    @numba.njit(parallel=True, fastmath=True)
    def total(values):
        result = np.float32(0)
        for i in numba.prange(values.size):
            result += values[i]
        return result

    warm = np.ones(1000, np.float32)
    scale(warm, np.float32(1))
    total(warm)
    return {"scale": lambda values: scale(values, np.float32(1.0000001)), "sum": total}


def processor_seconds():
    """(seconds of all processors since the machine started, what of it was idle, what of it this process had)."""
    with open("/proc/stat") as lines:
        ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in next(lines).split()[1:9]]
    own = os.times()
    return np.array([sum(ticks), ticks[3] + ticks[4], own.user + own.system])


# ---- Comparing and timing ------------------------------------------------------------------------------------------


def host_values(candidate, argument, result):
    """The result as an array of numpy."""
    if result is None:
        matrix = argument.X if hasattr(argument, "X") else argument
        result = matrix.data
    return result.get() if candidate.device == "gpu" else result


class Timing:
    """Candidates and rooflines in turns, on one matrix."""

    def __init__(self, matrix, threads, names=candidates.NAMES, operations=tuple(candidates.OPERATIONS)):
        self.matrix = matrix
        self.work = np.empty_like(matrix.data)
        self.rooflines = rooflines(threads)
        self.rows, self.missing, self.todo = {}, {}, []
        for name in candidates.NAMES[:-1]:
            if name not in names:
                continue
            try:
                candidate = candidates.load(name, threads)
            except ImportError as error:
                self.missing[name] = str(error)
            except Exception as error:  # a package that is there but broken must not end the comparison
                self.missing[name] = f"{type(error).__name__}: {error}"
            else:
                self.todo += [(candidate, operation) for operation in candidate.operations if operation in operations]
        on_device = next((candidate for candidate, _ in self.todo if candidate.device == "gpu"), None)
        if on_device:
            self.rooflines |= on_device.rooflines(matrix.nnz)

    def fresh(self, candidate):
        np.copyto(self.work, self.matrix.data)
        return candidate.argument(share_arrays(self.matrix, self.work))

    def run(self, candidate, operation):
        argument = self.fresh(candidate)
        time.sleep(0.005)  # threads of the one before, waiting for more to do, have gone to sleep by then
        begin = time.perf_counter()
        result = candidate.operations[operation](argument)
        candidate.synchronize()
        return time.perf_counter() - begin, argument, result

    def check(self, oracle):
        """Compares every result once; what fails or is wrong is not timed."""
        for candidate, operation in sorted(self.todo, key=lambda pair: list(candidates.OPERATIONS).index(pair[1])):
            row = {"operation": operation, "candidate": candidate.name, "device": candidate.device,
                   "version": candidate.version, "seconds": []}
            try:
                _, argument, result = self.run(candidate, operation)
                values = host_values(candidate, argument, result)
                row["state"], row["error_ulp"] = verdict(oracle, operation, values, candidate.tolerance)
            except Exception as error:  # one candidate that fails must not end the comparison
                row["state"], row["detail"] = "error", f"{type(error).__name__}: {error}"
            self.rows[candidate.name, operation] = row

    def rounds(self, repetitions, limit):
        """As many rounds as asked for, fewer (three at least) once `limit` seconds have passed."""
        speed = {name: [] for name in self.rooflines}
        begin = time.monotonic()
        for done in range(repetitions):
            if done >= 3 and time.monotonic() - begin > limit:
                break
            for name, loop in self.rooflines.items():
                np.copyto(self.work, self.matrix.data)
                start = time.perf_counter()
                loop(self.work)
                speed[name].append(time.perf_counter() - start)
            for candidate, operation in self.todo:
                row = self.rows[candidate.name, operation]
                if row["state"] == "ok":
                    row["seconds"].append(self.run(candidate, operation)[0])
        return speed


def seurat(folder, matrix, oracle):
    """The row of Seurat, from R; or why there is none."""
    script = Path(__file__).with_name("seurat_lognormalize.R")
    command = ["Rscript", str(script), str(folder), str(matrix.shape[1]), str(3 if matrix.nnz < 50_000_000 else 1)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        return None, "no Rscript"
    except subprocess.CalledProcessError as error:
        return None, (error.stderr.strip().splitlines() or ["Rscript failed"])[-1]
    version, first, extra, *seconds = done.stdout.split()
    result = np.fromfile(folder / "seurat", np.float64)
    state, error = verdict(oracle, "normalize_fixed_log1p", result, candidates.Candidate.tolerance)
    return {"operation": "normalize_fixed_log1p", "candidate": candidates.SEURAT, "device": "cpu",
            "version": f"Seurat {version}", "state": state, "error_ulp": error,
            "seconds": [float(s) for s in seconds] if state == "ok" else [],
            "first_call_seconds": float(first), "extra_bytes": int(float(extra))}, None


def summary(row, nnz, speed):
    """The row with its figures; `fraction` is the time of the bytes that it must move over the time that it took."""
    seconds = row.pop("seconds")
    if not seconds:
        return row
    floor, against, _ = candidates.OPERATIONS[row["operation"]]
    where = "gpu " if row.get("device") == "gpu" else ""
    reference = min(speed[where + against]) * floor / {"scale": 8, "sum": 4}[against]
    least = min(seconds)
    return row | {"min_seconds": least, "median_seconds": statistics.median(seconds), "runs": len(seconds),
                  "values_per_second": nnz / least, "fraction": reference / least}


def prepare(specification):
    """Makes the matrix and leaves its arrays in the folder for other processes."""
    folder = Path(specification["folder"])
    cells = specification["cells"]
    matrix = simulate(cells, specification["genes"], cells * specification["row_length"], specification["seed"])
    for name in ("indptr", "indices", "data"):
        getattr(matrix, name).tofile(folder / name)
    return matrix


def compare(specification):
    """The run of one size without first calls and memory."""
    matrix = prepare(specification)
    folder, threads = Path(specification["folder"]), specification["threads"]
    oracle = Oracle(matrix)
    timing = Timing(matrix, threads, specification["candidates"], specification["operations"])
    timing.check(oracle)
    oracle.kept = None, None
    before = processor_seconds()
    speed = timing.rounds(specification["repetitions"], specification["limit"])
    total, idle, own = processor_seconds() - before
    rows, missing = list(timing.rows.values()), timing.missing
    timing.work = None
    if candidates.SEURAT in specification["candidates"] and "normalize_fixed_log1p" in specification["operations"]:
        row, reason = seurat(folder, matrix, oracle)
        if row:
            rows.append(row)
        else:
            missing[candidates.SEURAT] = reason
    lengths = np.diff(matrix.indptr)
    return {"cells": matrix.shape[0], "genes": matrix.shape[1], "row_length": specification["row_length"],
            "nnz": int(matrix.nnz),
            "shortest_row": int(lengths.min()), "longest_row": int(lengths.max()), "seed": specification["seed"],
            "taken_by_others": max(0.0, (total - idle - own) / max(total, 0.01)), "missing": missing,
            "roofline": {name: {"min_seconds": min(times), "median_seconds": statistics.median(times),
                                "values_per_second": matrix.nnz / min(times)} for name, times in speed.items()},
            "results": [summary(row, matrix.nnz, speed) for row in rows]}


# ---- One call, in a process of its own ------------------------------------------------------------------------------


def resident(field):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def stored_matrix(specification):
    """The matrix that prepare() has left there."""
    folder = Path(specification["folder"])
    matrix = sp.csr_matrix((specification["cells"], specification["genes"]), dtype=np.float32)
    matrix.indptr, matrix.indices = (np.fromfile(folder / name, np.int32) for name in ("indptr", "indices"))
    matrix.data = np.fromfile(folder / "data", np.float32)
    return matrix


def first_call(specification):
    """Seconds of the first call of a process."""
    candidate = candidates.load(specification["candidate"], specification["threads"])
    argument = candidate.argument(stored_matrix(specification))
    begin = time.perf_counter()
    candidate.operations[specification["operation"]](argument)
    candidate.synchronize()
    return {"first_call_seconds": time.perf_counter() - begin}


def memory(specification):
    """By how much memory rises, at its highest, in a call after one on a tiny matrix, which has loaded and compiled
    what is needed. On a GPU it is the device's memory, of which candidates keep what they have once taken."""
    candidate = candidates.load(specification["candidate"], specification["threads"])
    function = candidate.operations[specification["operation"]]
    function(candidate.argument(simulate(50, 40, 500, 1)))
    argument = candidate.argument(stored_matrix(specification))
    candidate.synchronize()
    gc.collect()
    on_device = candidate.device == "gpu"
    if on_device:
        candidate.release()
    else:
        Path("/proc/self/clear_refs").write_text("5")
    before = candidate.held() if on_device else resident("VmRSS")
    kept = function(argument)
    candidate.synchronize()
    extra = max(0, (candidate.held() if on_device else resident("VmHWM")) - before)
    del kept
    return {"extra_bytes": extra}


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    made = {"prepare": prepare, "compare": compare, "first_call": first_call, "memory": memory}[task["what"]](task)
    Path(task["answer"]).write_text(json.dumps({} if task["what"] == "prepare" else made))
