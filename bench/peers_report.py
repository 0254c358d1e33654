"""The report of peers.py from its JSON: a table in Markdown, and plots of speed by size, memory by size, and CPU
against GPU where there was one.
"""

import math

import matplotlib
import peers_candidates as candidates

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Colours that stay apart for most kinds of colour blindness (Okabe and Ito); markers say the same again.
STYLES = {
    "csrnorm": ("#0072B2", "o"), "csrnorm, two calls": ("#56B4E9", "s"), "scanpy": ("#D55E00", "^"),
    "scipy": ("#009E73", "v"), "scikit-learn": ("#CC79A7", "D"), "fast-array-utils": ("#E69F00", "P"),
    "csrnorm, GPU": ("#0072B2", "*"), "cupy": ("#009E73", "X"), "rapids-singlecell": ("#D55E00", "h"),
    candidates.SEURAT: ("#000000", "x"),
}
ON_DEVICE = {kind.name for kind in candidates.IN_PYTHON if kind.device == "gpu"}
TITLES = {
    "normalize_fixed": "normalize to 10,000", "normalize_median": "normalize to the median", "log1p": "log1p",
    "normalize_fixed_log1p": "normalize to 10,000, log1p", "normalize_median_log1p": "normalize to the median, log1p",
    "normalize_median_exclude": "normalize to the median, genes excluded", "row_sums": "sums of cells",
    "column_sums": "sums of genes",
}


def rows_of(run):
    return [row for row in run["results"] if "min_seconds" in row]


def find(run, operation, candidate):
    return next((row for row in rows_of(run) if (row["operation"], row["candidate"]) == (operation, candidate)), None)


# ---- Markdown ------------------------------------------------------------------------------------------------------


def seconds(value):
    return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.2f} s"


def times(value):
    return f"{value:.1f} x" if value >= 0.95 else f"{value:.2g} x"


def millions(count):
    return f"{count / 1e6:,.0f}" if count >= 10e6 else f"{count / 1e6:.2g}"


def megabytes(value):
    return f"{value / 1e6:.0f}" if value >= 10e6 else f"{value / 1e6:.1f}"


def table(run):
    yield "| operation | | least | median | first call | 10^9 values/s | of the roofline | csrnorm is | extra MB | error |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for operation in candidates.OPERATIONS:
        own = find(run, operation, "csrnorm")
        for row in (row for row in run["results"] if row["operation"] == operation):
            cells = [TITLES[operation], row["candidate"]]
            if "min_seconds" in row:
                first, extra = row.get("first_call_seconds"), row.get("extra_bytes")
                cells += [seconds(row["min_seconds"]), seconds(row["median_seconds"]),
                          "" if first is None else seconds(first), f"{row['values_per_second'] / 1e9:.3g}",
                          f"{row['fraction']:.2f}",
                          times(row["min_seconds"] / own["min_seconds"]) if own and row is not own else "",
                          "" if extra is None else megabytes(extra), f"{row['error_ulp']:.2g}"]
            else:
                cells += [row["state"], *[""] * 6, row.get("detail", f"{row.get('error_ulp', math.nan):.2g}")]
            yield "| " + " | ".join(cells) + " |"


def markdown(report, images):
    environment = report["environment"]
    yield f"# csrnorm beside its peers: {environment['machine']}\n"
    for run in report["runs"]:
        roofline = run["roofline"]
        yield f"## {run['cells']:,} cells x {run['genes']:,} genes, {millions(run['nnz'])} million values\n"
        speed = {name: roof["values_per_second"] / 1e9 for name, roof in roofline.items()}
        device = f"; on the GPU {speed['gpu scale']:.1f}, sum {speed['gpu sum']:.1f}" if "gpu scale" in speed else ""
        yield (f"{run['row_length']:,} values a row ({run['shortest_row']:,} to {run['longest_row']:,}), float32; "
               f"{megabytes(4 * run['nnz'])} MB of values. Roofline: x *= c in place "
               f"{speed['scale']:.2f}, sum {speed['sum']:.2f}{device} billion values/s. Meanwhile others (programs, or "
               f"virtual machines on the same host) had {100 * run['taken_by_others']:.0f} % of the processors. {run['date']}.\n")
        yield from table(run)
        missing = "; ".join(f"{name} ({why})" for name, why in run["missing"].items())
        yield f"\nMissing: {missing}.\n" if missing else ""
    if any(row["device"] == "gpu" for run in report["runs"] for row in run["results"]):
        yield "On the GPU the matrix lies in its memory, and the extra memory is the device's.\n"
    if any("first_call_seconds" not in row for run in report["runs"] for row in rows_of(run)):
        yield "First calls were measured at some sizes only: what compiling and loading take does not depend on them.\n"
    yield "## Versions\n"
    versions = {row["version"]: None for run in report["runs"] for row in run["results"]}
    yield f"Python {environment['python']}; " + "; ".join(versions) + ".\n"
    for image in images:
        yield f"![{image.stem}]({image.name})\n"


# ---- Plots ---------------------------------------------------------------------------------------------------------


def shape_name(run):
    cells = f"{run['cells']:,}" if run["cells"] < 1_000_000 else f"{run['cells'] / 1e6:g} million"
    return f"{cells}\n× {run['row_length']:,}"


def panels(count, columns=4):
    rows = math.ceil(count / columns)
    figure, axes = plt.subplots(rows, min(columns, count), figsize=(3.5 * min(columns, count), 3.1 * rows + 0.9),
                                squeeze=False, sharex=True, sharey=True, layout="constrained")
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes.flat[:count]


def draw_sizes(axis, runs):
    axis.set_xscale("log")
    axis.set_xticks([run["cells"] for run in runs], [shape_name(run) for run in runs], fontsize=7)
    axis.minorticks_off()
    axis.margins(x=0.12)
    axis.grid(True, which="major", linewidth=0.4, alpha=0.5)
    axis.tick_params(axis="y", labelsize=8)


def draw_candidates(axis, runs, operation, value):
    """One line for each candidate; returns them by name."""
    lines = {}
    for name in candidates.NAMES:
        points = [(run["cells"], value(row)) for run in runs if (row := find(run, operation, name))]
        points = [(x, y) for x, y in points if y is not None]
        if points:
            colour, marker = STYLES[name]
            width = 2.2 if name.startswith("csrnorm") else 1.2
            style = "-." if name in ON_DEVICE else "-"
            lines[name], = axis.plot(*zip(*points), color=colour, marker=marker, markersize=5, linewidth=width,
                                     linestyle=style)
    return lines


def finish(figure, lines, title, path):
    figure.suptitle(title, fontsize=11)
    order = [name for name in dict.fromkeys((*candidates.NAMES, *lines)) if name in lines]
    figure.legend([lines[name] for name in order], order, loc="outside lower center", ncols=min(len(order), 8),
                  fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def roofline_speed(run, operation, where=""):
    floor, against, _ = candidates.OPERATIONS[operation]
    return run["roofline"][where + against]["values_per_second"] * {"scale": 8, "sum": 4}[against] / floor


def plot_speed(report, path):
    runs, lines = report["runs"], {}
    figure, axes = panels(len(candidates.OPERATIONS))
    for axis, operation in zip(axes, candidates.OPERATIONS):
        limit, = axis.plot([run["cells"] for run in runs], [roofline_speed(run, operation) / 1e9 for run in runs],
                           color="#555555", linestyle="--", linewidth=1, marker="_")
        with_gpu = [run for run in runs if "gpu scale" in run["roofline"]]
        if with_gpu:
            lines["roofline of the GPU"], = axis.plot(
                [run["cells"] for run in with_gpu],
                [roofline_speed(run, operation, "gpu ") / 1e9 for run in with_gpu],
                color="#555555", linestyle=":", linewidth=1, marker="_")
        lines |= draw_candidates(axis, runs, operation, lambda row: row["values_per_second"] / 1e9)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_title(TITLES[operation], fontsize=9)
        draw_sizes(axis, runs)
        lines["roofline"] = limit
    for axis in axes[::4]:
        axis.set_ylabel("10⁹ values per second", fontsize=8)
    return finish(figure, lines, f"Speed by number of cells × values in each\n{report['environment']['machine']}", path)


def megabytes_of(row):
    return row["extra_bytes"] / 1e6 if "extra_bytes" in row else None


def plot_memory(report, path):
    runs, lines = report["runs"], {}
    shown = [name for name in candidates.OPERATIONS if "sums" not in name]
    figure, axes = panels(len(shown), 3)
    for axis, operation in zip(axes, shown):
        whole, = axis.plot([run["cells"] for run in runs], [4 * run["nnz"] / 1e6 for run in runs], color="#555555",
                           linestyle=":", linewidth=1, marker="_")
        lines |= draw_candidates(axis, runs, operation, megabytes_of)
        axis.set_yscale("symlog", linthresh=1)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.set_title(TITLES[operation], fontsize=9)
        draw_sizes(axis, runs)
        lines["size of the values"] = whole
    highest = max(row.get("extra_bytes", 0) for run in runs for row in rows_of(run))
    axes[0].set_ylim(-0.2, 2 * max(highest, max(4 * run["nnz"] for run in runs)) / 1e6)  # the axes share it
    for axis in axes[::3]:
        axis.set_ylabel("MB beside the matrix, at the peak", fontsize=8)
    return finish(figure, lines, f"Peak extra memory of one call\n{report['environment']['machine']}", path)


def crossover(sizes, cpu, gpu):
    """The size from which on the GPU is faster, between measured ones by their logarithms; None where it never is."""
    ahead = [math.log(c / g) for c, g in zip(cpu, gpu)]
    if not ahead or ahead[-1] <= 0:
        return None
    last = next((i for i in range(len(ahead) - 1, -1, -1) if ahead[i] <= 0), None)
    if last is None:
        return sizes[0]
    share = -ahead[last] / (ahead[last + 1] - ahead[last])
    return math.exp(math.log(sizes[last]) + share * math.log(sizes[last + 1] / sizes[last]))


def plot_gpu(report, path):
    """CPU against GPU, each with the matrix in its own memory."""
    lines = {}
    shown = [name for name in candidates.OPERATIONS
             if any(row["device"] == "gpu" and row["operation"] == name for run in report["runs"] for row in rows_of(run))]
    figure, axes = panels(len(shown))
    for axis, operation in zip(axes, shown):
        runs = [run for run in report["runs"] if find(run, operation, "csrnorm")]
        lines |= draw_candidates(axis, runs, operation, lambda row: 1e3 * row["min_seconds"])
        both = [(run["cells"], find(run, operation, "csrnorm")["min_seconds"], gpu["min_seconds"])
                for run in runs if (gpu := find(run, operation, "csrnorm, GPU"))]
        if both and (size := crossover(*zip(*both))):
            axis.axvline(size, color="#555555", linestyle=":", linewidth=1)
            axis.annotate(f"GPU ahead\nfrom {size:,.0f} cells", (size, 0.95), xycoords=("data", "axes fraction"),
                          fontsize=7, va="top")
        axis.set_yscale("log")
        axis.set_title(TITLES[operation], fontsize=9)
        draw_sizes(axis, runs)
    for axis in axes[::4]:
        axis.set_ylabel("milliseconds", fontsize=8)
    return finish(figure, lines, f"CPU and GPU, the matrix in the memory of each\n{report['environment']['machine']}", path)


def write(report, output):
    """Writes everything beside `output`; returns the paths."""
    def beside(suffix):
        return output.with_name(output.name + suffix)

    images = [plot_speed(report, beside("-speed.png")), plot_memory(report, beside("-memory.png"))]
    if any(row["device"] == "gpu" for run in report["runs"] for row in rows_of(run)):
        images.append(plot_gpu(report, beside("-gpu.png")))
    text = beside(".md")
    text.write_text("\n".join(markdown(report, images)))
    return [text, *images]
