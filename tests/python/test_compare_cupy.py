"""bench/compare_cupy.py with numpy in the place of cupy: that a wrong result is seen, and whose it is. Nothing is timed."""

import importlib
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
BENCH = str(Path(__file__).resolve().parents[2] / "bench")


class Event:
    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        pass


@pytest.fixture
def compare(monkeypatch):
    """The module, which has taken numpy for cupy."""
    cupy = types.ModuleType("cupy")
    cupy.asnumpy, cupy.__version__ = np.array, "0"
    cupy.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(getDeviceCount=lambda: 1), Event=Event,
        Device=lambda: types.SimpleNamespace(synchronize=lambda: None),
        get_elapsed_time=lambda begin, end: 1e3 * (end.at - begin.at),
    )  # fmt: skip
    for name in ("cupyx", "cupyx.scipy"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["cupyx.scipy"].sparse = types.ModuleType("cupyx.scipy.sparse")
    monkeypatch.setitem(sys.modules, "cupyx.scipy.sparse", sys.modules["cupyx.scipy"].sparse)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.syspath_prepend(BENCH)
    monkeypatch.delitem(sys.modules, "compare_cupy", raising=False)
    module = importlib.import_module("compare_cupy")
    yield module
    sys.modules.pop("compare_cupy")


@pytest.fixture
def matrix(compare):
    from simulated_counts import simulate

    return simulate(300, 400, 20_000, 3)


TASKS = ["row_sums", "column_sums", "normalize_fixed", "normalize_median", "normalize_fixed_log1p", "normalize_median_log1p"]


def right(task):
    """A candidate: what is computed in float32, as on a device."""

    def run(matrix):
        if "sums" in task:
            return np.asarray(matrix.sum(axis=1 if task == "row_sums" else 0)).ravel()
        totals = np.asarray(matrix.sum(axis=1)).ravel()
        factors = totals / np.float32(np.median(totals) if "median" in task else 1e4)
        matrix.data /= np.repeat(factors, np.diff(matrix.indptr))
        if "log1p" in task:
            np.log1p(matrix.data, out=matrix.data)

    return run


def off(task, place, error):
    """The same with one place off by so many epsilons; NaN: with that there."""

    def run(matrix):
        result = right(task)(matrix)
        values = matrix.data if result is None else result
        values[np.flatnonzero(values)[place]] *= np.float32(1 + error * 2.0**-23)
        return result

    return run


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("error", [8, np.nan])
@pytest.mark.parametrize("culprit", ["csrnorm", "cupy"])
def test_whose_result_is_wrong(compare, matrix, monkeypatch, task, place, error, culprit):
    monkeypatch.setattr(compare.Oracle, "chunk", 3_000)  # several, of which one ends within a row
    oracle, counts = compare.Oracle(matrix), matrix.data.copy()
    candidates = {"csrnorm": right(task), "cupy": right(task)}
    rows = compare.measure(task, candidates, matrix, counts, oracle, 2)
    assert [(row["check"], row["samples"]) for row in rows] == [("ok", 2)] * 2
    rows = compare.measure(task, {**candidates, culprit: off(task, place, error)}, matrix, counts, oracle, 2)
    assert {row["candidate"]: (row["check"], row["samples"]) for row in rows} == {
        **dict.fromkeys(candidates, ("ok", 2)), culprit: ("wrong in 1 places", 0)
    }  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_every_value_is_looked_at(compare, matrix, monkeypatch, task):
    monkeypatch.setattr(compare.Oracle, "chunk", 3_000)
    oracle = compare.Oracle(matrix)
    rows = compare.measure(task, {"csrnorm": off(task, slice(None), 8)}, matrix, matrix.data.copy(), oracle, 1)
    size = np.count_nonzero(oracle.sums.get(task, matrix.data))
    assert [row["check"] for row in rows] == [f"wrong in {size} places"]


@pytest.mark.parametrize(("culprit", "code"), [("", 0), ("cupy", 0), ("csrnorm", 1)])
def test_the_exit_code_is_that_of_csrnorm(compare, matrix, monkeypatch, capsys, culprit, code):
    task = "normalize_median"
    candidates = {name: off(task, 5, 8) if name == culprit else right(task) for name in ("csrnorm", "cupy")}
    library = types.SimpleNamespace(build="a build", synchronize=lambda: None)
    monkeypatch.setattr(compare, "Csrnorm", lambda path: library)
    monkeypatch.setattr(compare, "simulate", lambda *_arguments: matrix)
    monkeypatch.setattr(compare, "tasks", lambda *_arguments: {task: candidates})
    monkeypatch.setattr(sys, "argv", ["compare_cupy.py", "--repetitions", "1"])
    assert compare.main() == code
    assert ("wrong" in capsys.readouterr().out) == bool(culprit)
