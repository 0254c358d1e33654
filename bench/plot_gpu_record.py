"""Draws what a record of scripts/gpu-verify says of CPU against GPU: RECORD.json gives RECORD.png beside it.

Two panels, normalization with log1p to a fixed target and to the median: milliseconds by the number of values, for a
matrix in host memory normalized by the CPU or through the GPU (from pinned and from pageable arrays), for one that is in
the GPU's memory, and for the link alone, both ways at once. A dotted line says from which size on the GPU is ahead of the
CPU with pinned arrays. Needs matplotlib.
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from peers_report import crossover  # noqa: E402

PANELS = {"normalize_fixed_log1p": "to 10,000, log1p", "normalize_median_log1p": "to the median, log1p"}
# Colours that stay apart for most kinds of colour blindness (Okabe and Ito); markers say the same again.
STYLES = {"cpu": ("CPU, {threads} threads", "#D55E00", "^"), "pageable": ("through the GPU, pageable arrays", "#56B4E9", "s"),
          "pinned": ("through the GPU, pinned arrays", "#0072B2", "o")}


def host_times(record, operation):
    """{arrays: ([values], [milliseconds])} of a matrix in host memory; what gave wrong results is left out."""
    times = {arrays: ([], []) for arrays in STYLES}
    for row in sorted(record["gpu_bench"]["host"]["results"], key=lambda row: row["values"]):
        if row["operation"] == operation and row["check"] == "ok":
            times[row["arrays"]][0].append(row["values"])
            times[row["arrays"]][1].append(row["min_ms"])
    return times


def device_times(record, operation, row_length=1000):
    """([values], [milliseconds]) of matrices in the GPU's memory with so many values a row."""
    points = sorted((row["values"], row["min_ms"]) for matrix in record["gpu_bench"]["matrices"]
                    for row in matrix["results"] if row["operation"] == operation and row["check"] == "ok"
                    and round(matrix["environment"]["nnz"] / matrix["environment"]["n_rows"]) == row_length)
    return [values for values, _ in points], [ms for _, ms in points]


def draw(axis, record, operation):
    """One panel; returns the crossover with pinned arrays."""
    environment = record["gpu_bench"]["matrices"][0]["environment"]
    times = host_times(record, operation)
    for arrays, (name, colour, marker) in STYLES.items():
        axis.plot(*times[arrays], color=colour, marker=marker, markersize=5,
                  label=name.format(threads=environment["processors"]))
    axis.plot(*device_times(record, operation), color="#009E73", marker="*", markersize=9, linestyle="-.",
              label="matrix in the GPU's memory")
    sizes = times["cpu"][0]
    rate = record["gpu_bench"]["host"]["link_both_gb_per_s"] * 1e6  # bytes per millisecond
    axis.plot(sizes, [8 * n / rate for n in sizes], color="#555555", linestyle="--", linewidth=1,
              label="the link alone, both ways at once")
    size = crossover(sizes, times["cpu"][1], times["pinned"][1])
    if size:
        axis.axvline(size, color="#555555", linestyle=":", linewidth=1)
        axis.annotate(f"GPU ahead from\n{size / 1e6:.0f} million values", (size, 0.04), xycoords=("data", "axes fraction"),
                      fontsize=8, ha="right")
    axis.set(xscale="log", yscale="log", title=PANELS[operation], xlabel="values")
    axis.grid(True, which="major", linewidth=0.4, alpha=0.5)
    return size


def plot(record, path):
    """Writes the plot; returns {operation: crossover}."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(10, 4.6), sharey=True, layout="constrained")
    found = {operation: draw(axis, record, operation) for axis, operation in zip(axes, PANELS)}
    axes[0].set_ylabel("milliseconds")
    environment = record["gpu_bench"]["matrices"][0]["environment"]
    figure.suptitle(f"normalize, from host memory to host memory: {environment['cpu']}, {environment['processors']} "
                    f"virtual cores, and {record['device']}", fontsize=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    path = parser.parse_args().record
    for operation, size in plot(json.loads(path.read_text()), path.with_suffix(".png")).items():
        print(f"{operation}: the GPU is ahead from {size / 1e6:.1f} million values on" if size
              else f"{operation}: the GPU is not ahead at the largest size")


if __name__ == "__main__":
    main()
