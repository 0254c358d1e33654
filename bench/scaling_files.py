#!/usr/bin/env python3
"""Time and memory of `csrnorm normalize` by the number of cells: a table, JSON, and a plot.

Files of 1,000 values a cell are made of the chunks of one .h5ad (make_large.py) beside it and kept; each is then
normalized to the median with log1p, as often as asked for with each --memory. The least time counts, and the
largest peak of resident memory.

    python3 bench/scaling_files.py gzip.h5ad --json bench/results/files.json --plot bench/results/files.png
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", help="an .h5ad as make_large.py takes it")
    parser.add_argument("--program", default=str(HERE.parent / "build/release/bin/csrnorm"))
    parser.add_argument("--cells", default="10000,31623,100000,316228,1000000")
    parser.add_argument("--memory", action="append", help="default: 1G and 256M")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--make-only", action="store_true", help="only make the files")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", help="a .png; needs matplotlib")
    return parser.parse_args()


def make(arguments, cells):
    path = Path(arguments.input).with_suffix(f".{cells}.h5ad")
    if not path.exists():
        subprocess.run([sys.executable, HERE / "make_large.py", arguments.input, path, "--rows", str(cells)], check=True)
    return path


def run(arguments, source, memory):
    """Seconds until synced, of the wall clock and of processors, and peak resident bytes."""
    output = source.with_suffix(".out.h5ad")
    begin = time.perf_counter()
    process = subprocess.Popen([arguments.program, "normalize", source, "-o", output, "--log1p", "--memory", memory, "--json"],
                               stdout=subprocess.PIPE)
    report = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    output.unlink()
    if process.returncode or not report["in_pieces"]:
        sys.exit(f"{source} failed, or was read as a whole")
    return {"cells": report["n_cells"], "nnz": report["nnz"], "memory": memory, "wall": wall,
            "processor": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024, "seconds": report["seconds"]}


def best(runs):
    row = dict(min(runs, key=lambda r: r["wall"]))
    row["peak_bytes"] = max(r["peak_bytes"] for r in runs)
    return row


def plot(rows, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, (time_axes, memory_axes) = pyplot.subplots(1, 2, figsize=(9, 3.6))
    for memory in dict.fromkeys(row["memory"] for row in rows):
        chosen = [row for row in rows if row["memory"] == memory]
        cells = [row["cells"] for row in chosen]
        time_axes.loglog(cells, [row["wall"] for row in chosen], "o-", label=f"--memory {memory}")
        memory_axes.semilogx(cells, [row["peak_bytes"] / 2**20 for row in chosen], "o-", label=f"--memory {memory}")
    last = rows[-1]
    line = [row["cells"] for row in rows if row["memory"] == last["memory"]]
    time_axes.loglog(line, [last["wall"] * c / last["cells"] for c in line], "k:", label="proportional")
    time_axes.set(xlabel="cells of 1,000 values", ylabel="seconds, until synced")
    memory_axes.set(xlabel="cells of 1,000 values", ylabel="peak resident memory, MiB", ylim=(0, None))
    time_axes.legend()
    memory_axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main():
    arguments = parse_arguments()
    rows, load = [], os.getloadavg()[0]
    print("| cells | memory | wall s | processor s | peak MiB | ns a value |\n| --- | --- | --- | --- | --- | --- |")
    for cells in map(int, arguments.cells.split(",")):
        source = make(arguments, cells)
        for memory in [] if arguments.make_only else arguments.memory or ["1G", "256M"]:
            row = best([run(arguments, source, memory) for _ in range(arguments.repetitions)])
            rows.append(row)
            print(f"| {row['cells']} | {memory} | {row['wall']:.2f} | {row['processor']:.2f} | {row['peak_bytes'] / 2**20:.0f} "
                  f"| {row['wall'] / row['nnz'] * 1e9:.1f} |", flush=True)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"machine": platform.processor(), "threads": os.cpu_count(),
                                                    "load_average": load, "rows": rows}, indent=1) + "\n")
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
