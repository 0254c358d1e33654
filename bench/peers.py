#!/usr/bin/env python3
"""csrnorm beside every peer that this machine has: one matrix of counts for each size, the same arrays, the same
threads, results compared before times.

    python3 bench/peers.py --library build/release/lib/libcsrnorm.so --output bench/results/peers-NAME

For each size a process of its own makes the matrix, compares what every candidate gives with numpy's float64, and
times those that are right, in turns with the roofline. Then each candidate and operation gets a process of its own for
its first call (nothing compiled before; at the smallest size alone, since to compile takes the same at any), and one for
its peak memory (two at a time; on a GPU one, since it is all of the device's memory that is looked at). The sizes are 10^4 to 10^6 cells; a million have a tenth of the values each, so that all
of it fits a machine of 24 GB. Written are NAME.json, NAME.md, and the plots
NAME-speed.png, NAME-memory.png and, with a GPU, NAME-gpu.png. With --add other sizes measured before stay in the
report; --report-only writes it anew from the JSON. What this machine lacks (a package, R, a GPU) is listed as missing.

Exit codes: 0 measured, 1 a result of csrnorm was wrong, it failed, or it was asked for and could not be loaded (on the
CPU; without a GPU `csrnorm, GPU` is missing as others are). Where a peer fails, its row says so.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from peers_candidates import NAMES, OPERATIONS  # noqa: E402
from simulated_counts import processor  # noqa: E402

#: What needs no GPU of those that may not be missing.
OWN = ("csrnorm", "csrnorm, two calls")
STAGES = ["times", "first", "memory"]
SIZES = ["10000x1500", "100000x1500", "1000000x150"]


def size(text):
    """(cells, mean number of values in a row) of "CELLSxVALUES"."""
    cells, _, length = text.partition("x")
    if not (cells.isdecimal() and length.isdecimal() and int(cells) and int(length)):
        raise argparse.ArgumentTypeError(f"{text!r} is none; expected CELLSxVALUES, for example 100000x1500")
    if int(cells) * int(length) > 2**31 - 1:
        raise argparse.ArgumentTypeError(f"{text!r} has more values than 32-bit indices count, which scipy's CSR uses")
    return int(cells), int(length)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=size, nargs="+", default=[size(text) for text in SIZES],
                        metavar="CELLSxVALUES", help="cells and mean number of values in a row (default: "
                        + " ".join(SIZES) + ")")
    parser.add_argument("--genes", type=int, default=30_000)
    parser.add_argument("--output", required=True, metavar="NAME", help="path of the report, without suffix")
    parser.add_argument("--library", help="libcsrnorm.so, with the package of this source tree instead of the "
                                          "installed one")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--limit", type=float, default=60, help="seconds after which three repetitions are enough")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operations", nargs="+", choices=list(OPERATIONS), default=list(OPERATIONS), metavar="NAME",
                        help="only these (default: " + " ".join(OPERATIONS) + ")")
    parser.add_argument("--candidates", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME",
                        help="only these (default: " + ", ".join(NAMES) + ")")
    parser.add_argument("--machine", help="its name in the report (default: processor and number of threads)")
    parser.add_argument("--add", action="store_true", help="keep the other sizes that the JSON has")
    parser.add_argument("--stages", nargs="+", choices=STAGES,
                        help="without `times`: of sizes that the JSON has (default: all, but `first` at the smallest "
                             "size alone; memory does not need a quiet machine)")
    parser.add_argument("--report-only", action="store_true", help="only write the report anew from the JSON")
    arguments = parser.parse_args()
    if min(arguments.genes, arguments.threads, arguments.repetitions) < 1:
        parser.error("--genes, --threads and --repetitions must be positive")
    if any(length > arguments.genes for _, length in arguments.sizes):
        parser.error("a row has no more values than genes")
    return arguments


def environment(arguments):
    """For the processes: the same number of threads whoever makes them, and csrnorm from where it was asked for."""
    threads = {name: str(arguments.threads) for name in
               ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    own = dict(os.environ, **threads, PYTHONWARNINGS="ignore")
    own.pop("CSRNORM_ISA", None)
    if arguments.library:
        own["CSRNORM_LIBRARY"] = str(Path(arguments.library).resolve())
        own["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent / "python"), own.get("PYTHONPATH")]))
    return own


def ask(task, folder, variables):
    """Runs peers_measure.py in a process of its own; its answer, or the last line of what it said."""
    number, name = tempfile.mkstemp(suffix=".json", dir=folder)
    os.close(number)
    answer = Path(name)
    command = [sys.executable, str(HERE / "peers_measure.py"), json.dumps(task | {"answer": str(answer)})]
    done = subprocess.run(command, env=variables, stderr=subprocess.PIPE, text=True)
    text = answer.read_text()
    answer.unlink()
    if done.returncode == 0 and text:
        return json.loads(text)
    return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}


def one_call(row, what, task, folder, variables):
    """What the process of one candidate and operation finds. First calls are in one in which nothing was compiled;
    memory where what was compiled before is loaded, and large arrays go back to the system when they are freed."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        own = dict(variables, **({"NUMBA_CACHE_DIR": cache} if what == "first_call" else
                                 {"MALLOC_MMAP_THRESHOLD_": "65536"}))
        one = {"what": what, "candidate": row["candidate"], "operation": row["operation"]}
        return ask(task | one, folder, own)


def add_calls(run, what, task, folder, variables):
    """One after the other where time is taken, and on a GPU, else two at a time."""
    # R has told already what Seurat takes.
    rows = [row for row in run["results"] if row["state"] == "ok" and row["candidate"] != "Seurat"
            and row["candidate"] in task["candidates"] and row["operation"] in task["operations"]]
    for device in ("cpu", "gpu"):
        there = [row for row in rows if row["device"] == device]
        workers = 1 if what == "first_call" or device == "gpu" else min(2, os.cpu_count() or 1)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            for row, found in zip(there, pool.map(lambda row: one_call(row, what, task, folder, variables), there)):
                row |= found


def measure(arguments, stages, cells, row_length, run):
    """The stages that are wanted, of one size; `run` is what earlier ones have found."""
    variables = environment(arguments)
    room = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="csrnorm-peers-", dir=room) as name:
        folder = Path(name)
        task = {"folder": name, "cells": cells, "row_length": row_length, "genes": arguments.genes,
                "threads": arguments.threads, "seed": arguments.seed, "repetitions": arguments.repetitions,
                "limit": arguments.limit, "operations": arguments.operations, "candidates": arguments.candidates}
        begun = ask(task | {"what": "compare" if "times" in stages else "prepare"}, folder, variables)
        if "failed" in begun:
            sys.exit(f"peers.py: {cells} x {row_length}: {begun['failed']}")
        run = begun or run
        for stage, what in (("first", "first_call"), ("memory", "memory")):
            if stage in stages:
                add_calls(run, what, task, folder, variables)
    if "times" in stages:
        run["date"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return run


def stages_of(arguments, cells, row_length):
    """What is measured at a size: what was asked for, else all, with first calls at the smallest."""
    if arguments.stages:
        return arguments.stages
    smallest = min(arguments.sizes, key=lambda other: other[0] * other[1])
    return [stage for stage in STAGES if stage != "first" or (cells, row_length) == smallest]


def gpu():
    """The name of the first GPU; None where there is none."""
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout.splitlines() or [None])[0] if done.returncode == 0 else None


def describe(arguments):
    device = gpu()
    name = f"{processor()}, {arguments.threads} threads" + (f", {device}" if device else "")
    machine = {"machine": arguments.machine or name, "processor": processor(), "threads": arguments.threads,
               "python": platform.python_version()}
    return machine | ({"gpu": device} if device else {})


def earlier(path, machine):
    """The runs of a report written before on the same machine."""
    if not path.exists():
        return []
    report = json.loads(path.read_text())
    if report["environment"] != machine:
        sys.exit(f"peers.py: {path} is of {report['environment']}, not of {machine}")
    return report["runs"]


def failures(report):
    """(candidate, operation or "", what went wrong) of all that is not right; peers that are missing are no failure."""
    found = []
    for run in report["runs"]:
        found += [(name, "", reason) for name, reason in run["missing"].items() if name in OWN]
        found += [(row["candidate"], row["operation"], f"{row['state']} {row.get('detail') or row.get('failed', '')}")
                  for row in run["results"] if row["state"] != "ok" or "failed" in row]
    return found


def main():
    arguments = parse_arguments()
    output = Path(arguments.output)
    path = output.with_name(output.name + ".json")
    if not arguments.report_only:
        machine = describe(arguments)
        alone = arguments.stages and "times" not in arguments.stages
        runs = earlier(path, machine) if arguments.add or alone else []
        for cells, row_length in arguments.sizes:
            shape = (cells, row_length, arguments.genes)
            same = [run for run in runs if (run["cells"], run["row_length"], run["genes"]) == shape]
            if not same and alone:
                sys.exit(f"peers.py: {path} has no times for {cells} x {row_length}")
            stages = stages_of(arguments, cells, row_length)
            made = measure(arguments, stages, cells, row_length, *same or [None])
            runs = [run for run in runs if run not in same] + [made]
            runs.sort(key=lambda old: (old["cells"], old["row_length"]))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"environment": machine, "runs": runs}, indent=1) + "\n")
    report = json.loads(path.read_text())
    import peers_report

    written = peers_report.write(report, output)
    print(f"=> {path}, " + ", ".join(str(name) for name in written))
    bad = failures(report)
    for candidate, operation, what in bad:
        print(f"{candidate}{', ' if operation else ''}{operation}: {what}")
    return 1 if any(candidate.startswith("csrnorm") for candidate, _, _ in bad) else 0


if __name__ == "__main__":
    sys.exit(main())
