"""bench/peers.py: that it notices a wrong result, and what it makes of its figures. Nothing is timed here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import csrnorm

pytest.importorskip("scipy")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import peers_candidates as candidates  # noqa: E402
import peers_measure  # noqa: E402
from simulated_counts import share_arrays, simulate  # noqa: E402


@pytest.fixture(scope="module")
def matrix():
    return simulate(400, 3000, 100_000, 2)


@pytest.fixture(scope="module")
def oracle(matrix):
    return peers_measure.Oracle(matrix)


@pytest.mark.parametrize("operation", candidates.OPERATIONS)
def test_a_wrong_result_is_noticed(matrix, oracle, operation, monkeypatch):
    pytest.importorskip("anndata")
    monkeypatch.setattr(peers_measure, "CHUNK", 3_000)
    own = candidates.load("csrnorm", 1)
    argument = own.argument(share_arrays(matrix, matrix.data.copy()))
    result = own.operations[operation](argument)
    got = peers_measure.host_values(own, argument, result)
    assert 0 < np.count_nonzero(oracle.totals != oracle.totals_excluding)
    state, error = peers_measure.verdict(oracle, operation, got, own.tolerance)
    assert (state, error <= 1) == ("ok", True)
    for place in (0, got.size - 1):
        wrong = got.copy()
        wrong[place] = np.nextafter(np.nextafter(np.nextafter(got[place], np.inf), np.inf), np.inf)
        assert peers_measure.verdict(oracle, operation, wrong, 0)[0] == "wrong"
        wrong[place] = np.nan
        assert peers_measure.verdict(oracle, operation, wrong, 1e9)[0] == "wrong"
    csrnorm.set_num_threads(None)


def test_the_scipy_idiom_agrees(matrix, oracle):
    scipy = candidates.load("scipy", 1)
    for operation, run in scipy.operations.items():
        argument = share_arrays(matrix, matrix.data.copy())
        got = peers_measure.host_values(scipy, argument, run(argument))
        assert peers_measure.verdict(oracle, operation, got, scipy.tolerance)[0] == "ok"


def test_what_is_not_there_is_missing():
    for name in ("cupy", "rapids-singlecell", "csrnorm, GPU"):
        try:
            candidates.load(name, 1)
        except ImportError as error:
            assert str(error)
        else:
            pytest.skip("this machine has a GPU")


def test_fraction_and_rate():
    row = {"operation": "normalize_median", "candidate": "csrnorm", "seconds": [0.3, 0.2, 0.4]}
    made = peers_measure.summary(row, 10**9, {"scale": [0.1, 0.12], "sum": [0.05]})
    assert made["min_seconds"] == 0.2
    assert made["median_seconds"] == 0.3
    assert made["values_per_second"] == 5e9
    assert made["fraction"] == pytest.approx(0.1 * 12 / 8 / 0.2)
    made = peers_measure.summary({"operation": "row_sums", "seconds": [0.1]}, 1, {"scale": [1], "sum": [0.05]})
    assert made["fraction"] == pytest.approx(0.5)
    row = {"operation": "row_sums", "device": "gpu", "seconds": [0.001]}
    made = peers_measure.summary(row, 1, {"scale": [1], "sum": [0.05], "gpu scale": [0.002], "gpu sum": [0.0004]})
    assert made["fraction"] == pytest.approx(0.4)


def a_run(cells, cpu, gpu):
    """A run with every operation, in which csrnorm takes `cpu` seconds and on the GPU `gpu`."""
    rows = []
    for name, seconds, device in (("csrnorm", cpu, "cpu"), ("scanpy", 9 * cpu, "cpu"), ("csrnorm, GPU", gpu, "gpu")):
        rows += [
            {
                "operation": operation, "candidate": name, "device": device, "version": f"{name} 1", "state": "ok",
                "error_ulp": 0.0, "min_seconds": seconds, "median_seconds": seconds, "runs": 3,
                "values_per_second": cells * 100 / seconds, "fraction": 0.5, "first_call_seconds": 1.0,
                "extra_bytes": 5e6,
            }
            for operation in candidates.OPERATIONS
        ]  # fmt: skip
    rows.append({"operation": "log1p", "candidate": "scipy", "device": "cpu", "version": "scipy 1", "state": "wrong",
                 "error_ulp": 77.0})  # fmt: skip
    speed = {"min_seconds": cpu / 2, "median_seconds": cpu / 2, "values_per_second": cells * 200 / cpu}
    return {
        "cells": cells, "genes": 1000, "row_length": 100, "nnz": cells * 100, "shortest_row": 1, "longest_row": 300,
        "seed": 1, "taken_by_others": 0.25, "missing": {"Seurat": "no Rscript"}, "date": "2026-01-01T00:00:00Z",
        "roofline": {"scale": speed, "sum": speed, "gpu scale": speed, "gpu sum": speed}, "results": rows,
    }  # fmt: skip


def test_the_report(tmp_path):
    pytest.importorskip("matplotlib")
    import peers_report

    report = {
        "environment": {"machine": "a machine", "processor": "p", "threads": 2, "python": "3"},
        "runs": [a_run(10_000, 0.01, 0.02), a_run(1_000_000, 1.0, 0.5)],
    }
    written = peers_report.write(json.loads(json.dumps(report)), tmp_path / "peers-here")
    assert [path.name for path in written] == [
        "peers-here.md", "peers-here-speed.png", "peers-here-memory.png", "peers-here-gpu.png"
    ]  # fmt: skip
    for path in written[1:]:
        assert path.read_bytes().startswith(b"\x89PNG")
    text = written[0].read_text()
    assert "| normalize to the median | scanpy | 90 ms | 90 ms | 1.00 s | 0.0111 | 0.50 | 9.0 x | 5.0 | 0 |" in text
    assert "| log1p | scipy | wrong |" in text
    assert "had 25 % of the processors" in text
    assert "Missing: Seurat (no Rscript)." in text


def test_crossover():
    peers_report = pytest.importorskip("peers_report")
    assert peers_report.crossover([10, 1000], [1, 4], [2, 2]) == pytest.approx(100)
    assert peers_report.crossover([10, 1000], [1, 1], [2, 2]) is None
    assert peers_report.crossover([10, 1000], [3, 4], [2, 2]) == 10
    assert peers_report.crossover([10, 100, 1000], [3, 1, 4], [2, 2, 2]) == pytest.approx(10 ** (2 + 1 / 2), rel=0.1)


def test_only_reports_of_the_same_machine_are_added_to(tmp_path):
    import peers

    path = tmp_path / "peers.json"
    here = {"machine": "a", "threads": 2}
    assert peers.earlier(path, here) == []
    path.write_text(json.dumps({"environment": here, "runs": [1]}))
    assert peers.earlier(path, here) == [1]
    with pytest.raises(SystemExit, match="not of"):
        peers.earlier(path, here | {"threads": 4})


def test_first_calls_are_measured_once():
    from types import SimpleNamespace

    import peers

    asked = SimpleNamespace(stages=None, sizes=[(1000, 7), (10, 70), (100, 70)])
    assert [peers.stages_of(asked, *size) for size in asked.sizes] == [
        ["times", "memory"], ["times", "first", "memory"], ["times", "memory"]
    ]  # fmt: skip
    asked.stages = ["first"]
    assert [peers.stages_of(asked, *size) for size in asked.sizes] == [["first"]] * 3
    for size in peers.SIZES:
        cells, length = peers.size(size)
        assert cells * length <= 150_000_000, "more does not fit where the report is made"


def test_every_call_has_a_process_of_its_own(monkeypatch):
    import peers

    asked = []

    def ask(task, folder, variables):
        asked.append((task["what"], task["candidate"], task["operation"], variables.get("NUMBA_CACHE_DIR")))
        return {"extra_bytes": len(task["operation"])}

    monkeypatch.setattr(peers, "ask", ask)
    rows = [{"candidate": name, "operation": operation, "state": state, "device": device}
            for name, operation, state, device in (
                ("a", "log1p", "ok", "cpu"), ("b", "sums", "ok", "gpu"), ("c", "sums", "wrong", "cpu"),
                ("Seurat", "log1p", "ok", "cpu"), ("d", "sums", "ok", "cpu"), ("a", "median", "ok", "cpu")
            )]  # fmt: skip
    wanted = {"candidates": ["a", "b", "c", "Seurat"], "operations": ["log1p", "sums"]}
    for what in ("first_call", "memory"):
        asked.clear()
        peers.add_calls({"results": rows}, what, wanted, None, {})
        assert sorted(call[:3] for call in asked) == [(what, "a", "log1p"), (what, "b", "sums")]
        caches = {call[3] for call in asked}
        assert len(caches) == 2 if what == "first_call" else caches == {None}
    assert [row.get("extra_bytes") for row in rows] == [5, 4, None, None, None, None]


def test_only_what_was_asked_for_is_timed(matrix, monkeypatch):
    monkeypatch.setattr(peers_measure, "rooflines", lambda threads: {})
    timing = peers_measure.Timing(matrix, 1, ["scipy", "csrnorm, GPU"], ["log1p", "row_sums", "normalize_median_exclude"])
    assert [(candidate.name, operation) for candidate, operation in timing.todo if candidate.device == "cpu"] == [
        ("scipy", "log1p"), ("scipy", "row_sums")
    ]  # fmt: skip
    assert set(timing.missing) <= {"csrnorm, GPU"}


@pytest.mark.parametrize(("missing", "code"), [("Seurat", 0), ("csrnorm, GPU", 0), ("csrnorm", 1), ("csrnorm, two calls", 1)])
def test_a_report_without_csrnorm_is_a_failure(tmp_path, monkeypatch, capsys, missing, code):
    pytest.importorskip("matplotlib")
    import peers

    run = a_run(10_000, 0.01, 0.02) | {"missing": {missing: "could not be loaded"}}
    run["results"] = [row for row in run["results"] if row["candidate"] != missing and row["state"] == "ok"]
    machine = {"machine": "a machine", "processor": "p", "threads": 2, "python": "3"}
    (tmp_path / "peers.json").write_text(json.dumps({"environment": machine, "runs": [run]}))
    monkeypatch.setattr(sys, "argv", ["peers.py", "--report-only", "--output", str(tmp_path / "peers")])
    assert peers.main() == code
    assert (f"{missing}: could not be loaded" in capsys.readouterr().out) == bool(code)


def test_a_broken_package_does_not_end_the_comparison(matrix, monkeypatch):
    def load(name, threads):
        raise OSError("a library of it is not there")

    monkeypatch.setattr(peers_measure, "rooflines", lambda threads: {})
    monkeypatch.setattr(candidates, "load", load)
    timing = peers_measure.Timing(matrix, 1, ["scipy"])
    assert timing.missing == {"scipy": "OSError: a library of it is not there"}


def test_record_of_a_gpu_as_a_plot(tmp_path):
    """A record with figures by hand: the GPU is as fast as the CPU half way, by logarithms, between two sizes."""
    pytest.importorskip("matplotlib")
    import plot_gpu_record

    def host(operation, arrays, values, ms, check="ok"):
        return {"operation": operation, "arrays": arrays, "values": values, "min_ms": ms, "check": check}

    fixed, median = plot_gpu_record.PANELS
    results = [host(fixed, "pinned", 1_000_000, 2), host(fixed, "cpu", 1_000_000, 1), host(fixed, "cpu", 100_000_000, 200),
               host(fixed, "pinned", 100_000_000, 100), host(fixed, "pageable", 100_000_000, 9, "wrong"),
               host(median, "cpu", 1_000_000, 1), host(median, "pinned", 1_000_000, 3)]
    matrix = {"environment": {"cpu": "a CPU", "processors": 4, "n_rows": 10, "nnz": 10_000},
              "results": [host(fixed, "", 10_000, 0.5)]}
    short = {"environment": matrix["environment"] | {"n_rows": 100}, "results": [host(fixed, "", 10_000, 0.25)]}
    record = {"device": "a GPU", "gpu_bench": {"host": {"link_both_gb_per_s": 100, "results": results},
                                               "matrices": [matrix, short]}}
    assert plot_gpu_record.host_times(record, fixed) == {
        "cpu": ([1_000_000, 100_000_000], [1, 200]), "pageable": ([], []), "pinned": ([1_000_000, 100_000_000], [2, 100])}
    assert plot_gpu_record.device_times(record, fixed) == ([10_000], [0.5])
    found = plot_gpu_record.plot(record, tmp_path / "plot.png")
    assert found == {fixed: pytest.approx(1e7), median: None}
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
