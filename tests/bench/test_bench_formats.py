#!/usr/bin/env python3
"""csrnorm bench from outside: every output format is read by a standard parser and says the
same thing, the numbers follow from each other as the documentation says, every operation is
there, and the exit code tells a wrong command line (2) from a failure (1).

    test_bench_formats.py PROGRAM
"""

import csv
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = sys.argv.pop(1)
SMALL = ["--cells", "300", "--genes", "900", "--nnz", "30000", "--repetitions", "2", "--min-time", "0"]


def bench(*options, code=0):
    done = subprocess.run([PROGRAM, "bench", *options], capture_output=True, text=True, timeout=600)
    assert done.returncode == code, f"{options}: exit code {done.returncode}, not {code}: {done.stderr}"
    return done


def operations():
    text = bench("--help").stdout
    return set(text[text.index("Operations:"):].split()[1:])


class Formats(unittest.TestCase):
    def test_json_has_every_operation_and_consistent_numbers(self):
        report = json.loads(bench(*SMALL, "--json").stdout)
        rows = report["results"]
        names = [row["operation"] for row in rows]
        self.assertEqual(len(names), len(set(names)))
        only_devices = {name for name in operations() if name.startswith(("link_", "pinned_", "pageable_"))}
        self.assertEqual(len(only_devices), 8)
        self.assertEqual(set(names), operations() - only_devices - {"roofline_copy"})
        self.assertEqual(report["environment"]["device_wins"], "")
        by_name = {row["operation"]: row for row in rows}
        for row in rows:
            self.assertEqual(row["check"], "ok", row)
            self.assertEqual(row["device"], "cpu")
            self.assertEqual(row["samples"], 2)
            self.assertTrue(0 < row["min_ms"] <= row["median_ms"])
            self.assertEqual(row["bytes"], row["values"] * row["bytes_per_value"])
            self.assertTrue(math.isclose(row["gb_per_s"], row["bytes"] / row["min_ms"] * 1e-6, rel_tol=1e-9))
            self.assertTrue(math.isclose(row["billion_values_per_s"], row["values"] / row["min_ms"] * 1e-6, rel_tol=1e-9))
            if row["reference"]:
                fraction = row["gb_per_s"] / by_name[row["reference"]]["gb_per_s"]
                self.assertTrue(math.isclose(row["fraction"], fraction, rel_tol=1e-9))
                self.assertGreater(row["paired"], 0)
            else:
                self.assertIsNone(row["fraction"])

    def test_floors(self):
        rows = json.loads(bench(*SMALL, "--json").stdout)["results"]
        floors = {row["operation"]: row["bytes_per_value"] for row in rows}
        expected = {"roofline_scale": 8, "roofline_sum": 4, "row_sums": 4, "row_scale": 8, "column_sums": 8,
                    "column_scale": 12, "normalize_fixed": 8, "normalize_median": 12, "normalize_fixed_log1p": 8,
                    "normalize_median_log1p": 12, "normalize_fixed_excluding": 16, "normalize_median_excluding": 20,
                    "log1p": 8, "check": 4}
        self.assertEqual({name: floors[name] for name in expected}, expected)

    def test_environment(self):
        environment = json.loads(bench(*SMALL, "--json", "--ops", "median", "--seed", "7").stdout)["environment"]
        self.assertEqual((environment["n_rows"], environment["n_cols"], environment["nnz"]), (300, 900, 30000))
        self.assertEqual((environment["data_type"], environment["indices_type"]), ("float32", "int32"))
        self.assertEqual(environment["seed"], 7)
        self.assertTrue(environment["row_min"] < environment["row_median"] < environment["row_max"])
        self.assertTrue(0.97 < environment["small_fraction"] < 1)
        for key in ("build", "compiler", "cpu", "date", "matrix"):
            self.assertTrue(environment[key], key)

    def test_a_file(self):
        """Its name may be any bytes, which are not what JSON or a terminal takes. Nothing is said of what went well."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.fsencode(folder) + b"/\xff\x1b[2J\xc2\x9b\xc3\xa9,\n.npz"
            made = os.path.join(folder, "a.npz")
            subprocess.run([PROGRAM, "simulate", "-o", made, "--cells", "50", "--genes", "20"], check=True, capture_output=True)
            os.rename(made, path)
            options = ["--ops", "row_sums", "--repetitions", "1", "--min-time", "0"]
            done = bench(path, "--json", *options)
            matrix = json.loads(done.stdout)["environment"]["matrix"]
            self.assertEqual(os.path.basename(matrix), "??[2J??\u00e9,?.npz")
            self.assertEqual([line for line in done.stderr.splitlines() if "beyond the cache" not in line], [])
            row, *_ = csv.DictReader(io.StringIO(bench(path, "--csv", *options).stdout))
            self.assertEqual(row["matrix"], matrix)
            self.assertIn(f"matrix: {matrix}\n", bench(path, *options).stdout)
            for damage, sentence in ((os.remove, "No such file"), (lambda p: open(p, "w").close(), "the file is empty")):
                damage(path)
                self.assertIn(sentence, bench(path, *options, code=1).stderr)

    def test_csv_is_json_in_lines(self):
        fields = json.loads(bench(*SMALL, "--json", "--ops", "row_sums").stdout)
        rows = list(csv.DictReader(io.StringIO(bench(*SMALL, "--csv", "--ops", "row_sums").stdout)))
        self.assertEqual([row["operation"] for row in rows], ["roofline_scale", "roofline_sum", "row_sums"])
        self.assertEqual(list(rows[0]), list(fields["results"][0]) + list(fields["environment"]))
        for row in rows:
            self.assertNotIn(None, row.values())
            self.assertGreater(float(row["min_ms"]), 0)
            self.assertEqual(row["nnz"], "30000")

    def test_markdown_is_a_table(self):
        lines = bench(*SMALL, "--markdown", "--ops", "row_sums").stdout.splitlines()
        table = [line for line in lines if line.startswith("|")]
        self.assertEqual(len(table), 2 + 3)
        self.assertEqual(len({line.count("|") for line in table}), 1)
        self.assertTrue(set(table[1]) <= set("|-: "))
        self.assertEqual(table[4].split("|")[1].strip(), "row_sums")

    def test_table(self):
        lines = bench(*SMALL, "--ops", "row_sums").stdout.splitlines()
        heading = next(k for k, line in enumerate(lines) if line.startswith("operation"))
        self.assertEqual([line.split()[0] for line in lines[heading + 1:]], ["roofline_scale", "roofline_sum", "row_sums"])
        self.assertIn("nnz: 30000", lines)


class Choices(unittest.TestCase):
    def test_threads_and_instruction_sets(self):
        out = bench(*SMALL, "--json", "--ops", "normalize_median_log1p", "--threads", "1,2,3", "--isa", "generic")
        rows = json.loads(out.stdout)["results"]
        self.assertEqual([row["threads"] for row in rows], [1] * 3 + [2] * 3 + [3] * 3)
        self.assertEqual({row["isa"] for row in rows}, {"generic"})
        every = json.loads(bench(*SMALL, "--json", "--ops", "row_sums", "--isa", "all").stdout)["results"]
        self.assertIn("generic", {row["isa"] for row in every})
        self.assertEqual(len(every), 3 * len({row["isa"] for row in every}))

    def test_types(self):
        for kind in ("float64", "uint8", "uint16", "uint32", "int32", "i64"):
            for more in (["--indptr-type", "int32"], ["--index-type", "int64"]):
                report = json.loads(bench(*SMALL, "--json", "--type", kind, *more).stdout)
                self.assertEqual({row["check"] for row in report["results"]}, {"ok"}, kind)
        reals = json.loads(bench(*SMALL, "--json", "--values", "reals").stdout)
        self.assertEqual(reals["environment"]["small_fraction"], 0)
        references = {row["operation"]: row["reference"] for row in reals["results"]}
        self.assertEqual(references["normalize_fixed_log1p"], "normalize_fixed_log1p_cached")

    def test_edges(self):
        for options in (["--nnz", "0"], ["--row-length", "900"], ["--row-length", "5", "--distribution", "constant"]):
            size = ["--cells", "200", "--genes", "900", "--repetitions", "1", "--min-time", "0"]
            report = json.loads(bench(*size, *options, "--json").stdout)
            self.assertEqual({row["check"] for row in report["results"]}, {"ok"}, options)

    def test_input(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "counts.mtx"
            path.write_text("%%MatrixMarket matrix coordinate integer general\n3 4 5\n1 1 2\n3 1 1\n2 2 7\n1 4 40\n3 4 1\n")
            report = json.loads(bench(str(path), "--json", "--repetitions", "1", "--min-time", "0").stdout)
            self.assertEqual(report["environment"]["matrix"], str(path))
            self.assertEqual(report["environment"]["nnz"], 5)
            self.assertEqual({row["check"] for row in report["results"]}, {"ok"})
            missing = bench(str(Path(folder) / "missing.h5ad"), code=1)
            self.assertIn("missing.h5ad", missing.stderr)
            self.assertEqual(missing.stdout, "")


class Failures(unittest.TestCase):
    def test_a_device_that_is_not_there_is_a_row(self):
        devices = subprocess.run([PROGRAM, "bench", *SMALL, "--device", "cpu,cuda", "--ops", "row_sums", "--json"],
                                 capture_output=True, text=True, timeout=600)
        rows = json.loads(devices.stdout)["results"]
        cuda = [row for row in rows if row["device"] == "cuda"]
        self.assertEqual({row["check"] for row in rows if row["device"] == "cpu"}, {"ok"})
        self.assertTrue(cuda)
        if cuda[0]["operation"] == "context":  # no CUDA in this build, or no device on this machine
            self.assertEqual(devices.returncode, 1)
            self.assertEqual(cuda[0]["check"], "error")
            self.assertIsNone(cuda[0]["min_ms"])
            self.assertIn("cuda", cuda[0]["detail"].lower())
            self.assertIn(cuda[0]["detail"], devices.stderr)

    def test_an_instruction_set_that_is_none(self):
        done = bench(*SMALL, "--isa", "z80", "--ops", "row_sums", code=1)
        self.assertIn("z80", done.stderr)

    def test_usage(self):
        wrong = (["--cells", "0"], ["--cells", "1.5"], ["--cells"], ["--nnz", "-1"], ["--nnz", "five"],
                 ["--nnz", "10", "--row-length", "2"], ["--cells", "2", "--genes", "2", "--nnz", "5"], ["--ops", "nothing"],
                 ["--ops", ""], ["--threads", "0"], ["--threads", "1,,2"], ["--device", "gpu"], ["--device", "cuda:x"],
                 ["--type", "f16"], ["--type", "uint8", "--values", "reals"], ["--values", "words"],
                 ["--distribution", "normal"], ["--repetitions", "0"], ["--min-time", "-1"], ["--min-time", "nan"],
                 ["--max-fraction", "2"], ["--json", "--csv"], ["--colour"], ["a.npz", "b.npz"], ["a.npz", "--cells", "3"],
                 ["--indptr-type", "int32", "--cells", "1e6", "--genes", "1e6", "--nnz", "3e9"])
        for options in wrong:
            done = bench(*options, code=2)
            self.assertEqual(done.stdout, "", options)
            self.assertEqual(done.stderr.count("\n"), 1, options)
            self.assertTrue(done.stderr.startswith("csrnorm bench: "), options)

    def test_help(self):
        done = bench("--help")
        self.assertIn("usage: csrnorm bench", done.stdout)
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main()
