#!/usr/bin/env python3
"""csrnorm beside scanpy with anndata: from an .h5ad to a normalized .h5ad, end to end.

In each round every candidate takes its turn in a process of its own: a plain copy of the
file; csrnorm; and scanpy (read_h5ad, normalize_total, log1p, write_h5ad). All end when the result
is synced to the disk. scanpy's time is given with Python's start, imports and numba's
compilation, and without (`warm`: only from reading to the sync, after a small matrix has
been normalized and written). scanpy 1.11.5 takes the median over all cells, which is the same where
no cell is empty. The values of both results are compared before anything is believed.

    python3 bench/compare_files.py counts.h5ad --program build/release/bin/csrnorm
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCANPY = """
import sys, time, os, json
begin = time.perf_counter()
source, target, compression = sys.argv[1], sys.argv[2], sys.argv[3] or None
import anndata, numpy, scanpy, scipy.sparse
def run(a, path):
    marks = [time.perf_counter()]
    if a is None:
        a = anndata.read_h5ad(source)
    marks.append(time.perf_counter())
    scanpy.pp.normalize_total(a)
    scanpy.pp.log1p(a)
    marks.append(time.perf_counter())
    a.write_h5ad(path, compression=compression)
    marks.append(time.perf_counter())
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    marks.append(time.perf_counter())
    return marks
start = time.perf_counter()
for index in (numpy.int32, numpy.int64):  # of indptr: numba compiles for either
    small = scipy.sparse.csr_matrix(numpy.ones((4, 4), numpy.float32))
    small.indptr = small.indptr.astype(index)
    run(anndata.AnnData(small), target)
warm = time.perf_counter()
os.unlink(target)
marks = run(None, target)
stages = dict(zip(("read", "normalize", "write", "sync"), (b - a for a, b in zip(marks, marks[1:]))))
print(json.dumps({"imports": start - begin, "compilation": warm - start, **stages}))
"""

COPY = """
import os, shutil, sys
shutil.copyfile(sys.argv[1], sys.argv[2])
with open(sys.argv[2], "rb") as file:
    os.fsync(file.fileno())
"""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "build/release/bin/csrnorm"
    parser.add_argument("input")
    parser.add_argument("--program", default=str(default), help="csrnorm (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--memory", action="append", default=[], help="also with csrnorm --memory SIZE")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--folder", help="where results go (default: a temporary folder beside the input)")
    parser.add_argument("--no-scanpy", action="store_true", help="only csrnorm and the copy")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    return parser.parse_args()


def run(command, output):
    """Wall and processor seconds, peak resident bytes, what it printed and the size of what it wrote."""
    output.unlink(missing_ok=True)
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    printed = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[:3]} failed")
    return {"wall": wall, "processor": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024,
            "bytes": output.stat().st_size, "printed": printed}


def is_compressed(path):
    """Whether csrnorm says that the values are."""
    done = subprocess.run([ARGUMENTS.program, "info", path, "--json"], capture_output=True, text=True, check=True)
    return "gzip" in json.loads(done.stdout)["filters"]


def differing_values(one, other):
    """How many of the values differ in more than the last bit but one of log1p, and how many there are."""
    import h5py
    import numpy
    with h5py.File(one) as a, h5py.File(other) as b:
        a, b, different = a["X/data"], b["X/data"], 0
        for i in range(0, a.shape[0], 1 << 24):
            x, y = a[i : i + (1 << 24)].view(numpy.int32), b[i : i + (1 << 24)].view(numpy.int32)
            different += int((abs(x - y) > 2).sum())
        return different, a.shape[0]


def measure(candidates, rounds):
    results = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, (command, output) in candidates.items():
            results[name].append(run(command, output))
            print(f"{name}: {results[name][-1]['wall']:.2f} s", file=sys.stderr)
    return results


def summarize(name, runs):
    best = min(runs, key=lambda r: r["wall"])
    row = {key: best[key] for key in ("wall", "processor", "bytes")}
    row["peak_bytes"] = max(r["peak_bytes"] for r in runs)
    if name.startswith("csrnorm"):
        row["seconds"] = json.loads(best["printed"])["seconds"]
    if name == "scanpy":
        stages = [json.loads(r["printed"]) for r in runs]
        row["seconds"] = {key: min(s[key] for s in stages) for key in stages[0]}
        row["warm"] = min(sum(s[k] for k in ("read", "normalize", "write", "sync")) for s in stages)
    return row


def print_table(rows):
    base = rows.get("csrnorm")
    print("| | wall s | x csrnorm | processor s | peak MB | output MB | stages, s |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        stages = ", ".join(f"{key} {value:.2f}" for key, value in row.get("seconds", {}).items())
        print(f"| {name} | {row['wall']:.2f} | {row['wall'] / base['wall']:.1f} | {row['processor']:.2f} "
              f"| {row['peak_bytes'] / 1e6:.0f} | {row['bytes'] / 1e6:.0f} | {stages} |")
        if "warm" in row:
            print(f"| {name}, warm | {row['warm']:.2f} | {row['warm'] / base['wall']:.1f} | | | | |")


def main():
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(ARGUMENTS.threads)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=ARGUMENTS.folder or Path(ARGUMENTS.input).resolve().parent) as folder:
        folder = Path(folder)
        ours = [ARGUMENTS.program, "normalize", ARGUMENTS.input, "--log1p", "--json", "--threads",
                str(ARGUMENTS.threads), "--force", "-o"]
        candidates = {"copy": ([sys.executable, "-c", COPY, ARGUMENTS.input, folder / "copy"], folder / "copy"),
                      "csrnorm": ([*ours, folder / "a.h5ad"], folder / "a.h5ad")}
        for size in ARGUMENTS.memory:
            candidates[f"csrnorm --memory {size}"] = ([*ours, folder / "a.h5ad", "--memory", size], folder / "a.h5ad")
        if not ARGUMENTS.no_scanpy:
            compression = "gzip" if is_compressed(ARGUMENTS.input) else ""
            candidates["scanpy"] = ([sys.executable, "-W", "ignore", "-c", SCANPY, ARGUMENTS.input, folder / "b.h5ad",
                                     compression], folder / "b.h5ad")
        results = measure(candidates, ARGUMENTS.repetitions)
        rows = {name: summarize(name, runs) for name, runs in results.items()}
        if not ARGUMENTS.no_scanpy:
            different, n = differing_values(folder / "a.h5ad", folder / "b.h5ad")
            if different:
                sys.exit(f"{different} of {n} values differ by more than rounding")
        print(f"{ARGUMENTS.input}: {Path(ARGUMENTS.input).stat().st_size / 1e6:.0f} MB; {platform.processor()}, "
              f"{ARGUMENTS.threads} threads, load average before {load:.1f}; best of {ARGUMENTS.repetitions}\n")
        print_table(rows)
        if ARGUMENTS.json:
            Path(ARGUMENTS.json).write_text(json.dumps({"load_average": load, "rows": rows}, indent=1))


ARGUMENTS = parse_arguments()
if __name__ == "__main__":
    main()
