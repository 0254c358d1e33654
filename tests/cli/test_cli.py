"""The command line from outside: results, messages, exit codes, and that no failure leaves anything
under the output's name or touches an input.

Usage: test_cli.py CSRNORM. Needs the standard library alone. With CSRNORM_TEST_DATA every file there
is tried, too.
"""

import gzip
import hashlib
import json
import math
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from pathlib import Path

PROGRAM = ""
ROOT = Path(__file__).resolve().parents[2]
DATA = os.environ.get("CSRNORM_TEST_DATA")

MTX = """%%MatrixMarket matrix coordinate integer general
%metadata_json: {"software_version": "x"}
3 4 6
1 1 1
2 1 3
3 2 2
1 4 5
2 4 1
3 4 2
"""  # genes x cells: the totals of the cells are 4, 2, 0 and 8, their median 4


def npy(values, kind):
    """A .npy of numbers (struct code `kind`)."""
    descr = {"f": "<f4", "d": "<f8", "i": "<i4", "q": "<i8", "B": "|u1"}[kind]
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({len(values)},), }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode() + struct.pack(f"<{len(values)}{kind}", *values)


def read_npy(data):
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10 : 10 + length].decode()
    kind = {"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q", "|u1": "B"}[re.search(r"'descr': '(.*?)'", header)[1]]
    body = data[10 + length :]
    return list(struct.unpack(f"<{len(body) // struct.calcsize(kind)}{kind}", body))


def write_npz(path, data=(1.0, 3.0, 2.0, 5.0, 1.0, 2.0), indices=(0, 1, 2, 0, 1, 2), indptr=(0, 2, 3, 3, 6),
              shape=(4, 3), kind="f", layout=b"csr"):
    word = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|S3', 'fortran_order': False, 'shape': (), }".ljust(117) + b"\n" + layout
    with zipfile.ZipFile(path, "w") as z:
        for name, content in (("data", npy(data, kind)), ("indices", npy(indices, "i")),
                              ("indptr", npy(indptr, "i")), ("shape", npy(shape, "q")), ("format", word)):
            z.writestr(name + ".npy", content)


def read_npz(path):
    with zipfile.ZipFile(path) as z:
        return {name: read_npy(z.read(name + ".npy")) for name in ("data", "indices", "indptr", "shape")}


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Command(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = Path(self.folder.name)
        self.mtx = self.dir / "counts.mtx"
        self.mtx.write_text(MTX)
        self.npz = self.dir / "counts.npz"
        write_npz(self.npz)

    def tearDown(self):
        self.folder.cleanup()

    def run_program(self, *arguments, **options):
        return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)

    def good(self, *arguments, **options):
        done = self.run_program(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def bad(self, code, pattern, *arguments, output=None, **options):
        """Fails with `code` and a sentence that matches; leaves the folder as it was."""
        before = {p: digest(p) for p in self.dir.iterdir() if p.is_file() and os.access(p, os.R_OK)}
        done = self.run_program(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.stdout, "")
        sentences = [line for line in done.stderr.splitlines() if not line.startswith("See 'csrnorm")]
        self.assertEqual(len(sentences), 1, done.stderr)
        after = {p: digest(p) for p in self.dir.iterdir() if p.is_file() and os.access(p, os.R_OK)}
        self.assertEqual(before, after)
        if output:
            self.assertFalse(Path(output).exists())


class Results(Command):
    def test_normalize_by_hand(self):
        out = self.dir / "out.npz"
        for source in (self.mtx, self.npz):
            self.good("normalize", source, "-o", out, "--force")
            self.assertEqual(read_npz(out)["data"], [1.0, 3.0, 4.0, 2.5, 0.5, 1.0])
        self.good("normalize", self.npz, "-o", out, "--force", "--target-sum", "8")
        self.assertEqual(read_npz(out)["data"], [2.0, 6.0, 8.0, 5.0, 1.0, 2.0])
        self.good("normalize", self.npz, "-o", out, "--force", "--target-sum", "mean")  # 14 / 3
        factor = [f32(f32(t) / f32(14 / 3)) for t in (4, 4, 2, 8, 8, 8)]
        expected = [f32(x / f) for x, f in zip((1, 3, 2, 5, 1, 2), factor)]
        self.assertEqual(read_npz(out)["data"], expected)
        self.assertEqual(read_npz(out)["indices"], [0, 1, 2, 0, 1, 2])
        self.assertEqual(read_npz(out)["indptr"], [0, 2, 3, 3, 6])

    def test_log1p(self):
        out = self.dir / "out.npz"
        self.good("normalize", self.npz, "-o", out, "--log1p")
        for got, x in zip(read_npz(out)["data"], (1.0, 3.0, 4.0, 2.5, 0.5, 1.0)):
            self.assertLess(abs(got - math.log1p(x)), 2**-23 * math.log1p(x))
        natural = read_npz(out)["data"]
        self.good("normalize", self.npz, "-o", out, "--force", "--log-base", "2")
        self.assertEqual(read_npz(out)["data"], [f32(x / math.log(2)) for x in natural])

    def test_exclusion(self):
        # Gene 0 has 5 of 8 in the last cell, gene 1 has 3 of 4 and gene 2 all of 2: above 0.7 are 1 and 2.
        out = self.dir / "out.npz"
        report = json.loads(self.good("normalize", self.npz, "-o", out, "--exclude-highly-expressed", "--max-fraction",
                                      "0.7", "--json"))
        self.assertEqual(report["n_excluded_genes"], 2)
        self.assertEqual(report["target_sum"], 3.0)  # totals are 1, 0, 0 and 5
        third = f32(f32(1) / f32(3))
        fifth = f32(f32(5) / f32(3))
        expected = [f32(1 / third), f32(3 / third), 2.0, f32(5 / fifth), f32(1 / fifth), f32(2 / fifth)]
        self.assertEqual(read_npz(out)["data"], expected)

    def test_types(self):
        out = self.dir / "out.npz"
        for kind, result in (("f", "f"), ("d", "d"), ("i", "f"), ("q", "f"), ("B", "f")):
            values = [1, 3, 2, 5, 1, 2]
            write_npz(self.npz, data=values, kind=kind)
            report = json.loads(self.good("normalize", self.npz, "-o", out, "--force", "--json"))
            self.assertEqual(report["output_type"], {"f": "float32", "d": "float64"}[result])
            self.assertEqual(read_npz(out)["data"], [1.0, 3.0, 4.0, 2.5, 0.5, 1.0])

    def test_csc(self):
        out = self.dir / "out.npz"
        write_npz(self.npz, data=(1.0, 5.0, 3.0, 1.0, 2.0, 2.0), indices=(0, 3, 0, 3, 1, 3), indptr=(0, 2, 4, 6),
                  layout=b"csc")
        self.good("normalize", self.npz, "-o", out)
        self.assertEqual(read_npz(out)["data"], [1.0, 2.5, 3.0, 0.5, 4.0, 1.0])
        self.assertEqual(self.good("sums", self.npz, "--axis", "rows").split(), ["4", "2", "0", "8"])
        self.assertEqual(self.good("sums", self.npz, "--axis", "columns").split(), ["6", "4", "4"])

    def test_threads_and_instruction_sets(self):
        source = self.dir / "sim.npz"
        self.good("simulate", "-o", source, "--cells", "300", "--genes", "2000", "--depth", "3000")
        sets = json.loads(self.run_program("devices", "--json").stdout)["devices"][0]["isa"].split()
        results = set()
        for isa in sets:
            for threads in (1, 2, 3, 7):
                out = self.dir / "out.npz"
                report = json.loads(self.good("normalize", source, "-o", out, "--force", "--log1p", "--json", "--threads",
                                              threads, env={**os.environ, "CSRNORM_ISA": isa}))
                self.assertEqual((report["isa"], report["threads"]), (isa, threads))
                results.add(digest(out))
        self.assertEqual(len(results), 1)

    def test_sums_read_back(self):
        write_npz(self.npz, data=[0.1, 0.2, 1e-30, 1 / 3, 2 / 3, 1e30], kind="d")
        text = self.good("sums", self.npz, "--axis", "rows").split()
        self.assertEqual([float(x) for x in text], [0.1 + 0.2, 1e-30, 0.0, 1 / 3 + 2 / 3 + 1e30])
        out = self.dir / "sums.npy"
        self.good("sums", self.npz, "--axis", "rows", "-o", out)
        self.assertEqual(read_npy(out.read_bytes()), [float(x) for x in text])
        report = json.loads(self.good("sums", self.npz, "--axis", "rows", "--json"))
        self.assertEqual(report["sums"], [float(x) for x in text])
        report = json.loads(self.good("sums", self.npz, "--axis", "rows", "--json", "-f", "-o", out))
        self.assertEqual((report["output"], report["type"]), (str(out), "float64"))
        self.assertNotIn("sums", report)
        wide = [2**62, 2**62 - 1, 5, 1, 2, 3]
        write_npz(self.npz, data=wide, kind="q")
        self.assertEqual(self.good("sums", self.npz, "--axis", "rows").split(), [str(2**63 - 1), "5", "0", "6"])
        self.bad(1, "does not fit", "sums", self.npz_with([2**62, 2**62, 0, 0, 0, 0]), "--axis", "rows")

    def npz_with(self, values):
        path = self.dir / "wide.npz"
        write_npz(path, data=values, kind="q")
        return path

    def test_scale(self):
        out, by = self.dir / "out.npz", self.dir / "by.txt"
        by.write_text("# one per cell\n2\n4\n1\n0.5\n")
        self.good("scale", self.npz, "-o", out, "--axis", "rows", "--by", by, "--op", "multiply")
        self.assertEqual(read_npz(out)["data"], [2.0, 6.0, 8.0, 2.5, 0.5, 1.0])
        by.write_bytes(npy([2.0, 1.0, 0.0], "d"))
        self.good("scale", self.npz, "-o", out, "-f", "--axis", "columns", "--by", by, "--op", "divide", "--zero", "one")
        self.assertEqual(read_npz(out)["data"], [0.5, 3.0, 2.0, 2.5, 1.0, 2.0])
        self.good("scale", self.npz, "-o", out, "-f", "--axis", "columns", "--by", by, "--op", "divide")
        self.assertEqual(read_npz(out)["data"], [0.5, 3.0, math.inf, 2.5, 1.0, math.inf])

    def test_simulate(self):
        files = []
        for threads in (1, 2, 5):
            files.append(self.dir / f"{threads}.npz")
            self.good("simulate", "-o", files[-1], "--cells", "200", "--genes", "500", "--seed", "7", "--threads", threads)
        self.assertEqual(len({digest(f) for f in files}), 1)
        other = self.dir / "other.npz"
        self.good("simulate", "-o", other, "--cells", "200", "--genes", "500", "--seed", "8")
        self.assertNotEqual(digest(other), digest(files[0]))
        m = read_npz(other)
        self.assertEqual(m["shape"], [200, 500])
        self.assertTrue(all(x == int(x) and x > 0 for x in m["data"]))
        totals = sorted(sum(m["data"][a:b]) for a, b in zip(m["indptr"], m["indptr"][1:]))
        self.assertTrue(4000 < totals[100] < 6000, totals[100])  # the median depth is 5000
        for a, b in zip(m["indptr"], m["indptr"][1:]):
            self.assertEqual(m["indices"][a:b], sorted(set(m["indices"][a:b])))
        text = self.good("info", files[0])
        self.assertIn("200 cells x 500 genes", text)

    def test_formats_agree(self):
        """The same matrix through every format gives the same values."""
        h5ad, mtx, gz, npz = (self.dir / n for n in ("a.h5ad", "a.mtx", "a.mtx.gz", "a.npz"))
        self.good("simulate", "-o", h5ad, "--cells", "50", "--genes", "300", "--depth", "400")
        for target in (mtx, gz, npz):
            self.good("normalize", h5ad, "-o", target)
        out = self.dir / "back.npz"
        self.good("normalize", mtx, "-o", out, "--target-sum", "1")
        a = read_npz(out)
        self.good("normalize", gz, "-o", out, "-f", "--target-sum", "1")
        self.assertTrue(a == read_npz(out))
        self.good("normalize", npz, "-o", out, "-f", "--target-sum", "1")
        b = read_npz(out)
        self.assertTrue(a["indices"] == b["indices"])
        self.assertTrue(a["data"] == b["data"])
        self.assertTrue(mtx.read_bytes() == gzip.decompress(gz.read_bytes()))

    def test_in_place_by_force(self):
        self.bad(1, "exists already", "normalize", self.npz, "-o", self.npz)
        self.good("normalize", self.npz, "-o", self.npz, "--force")
        self.assertEqual(read_npz(self.npz)["data"], [1.0, 3.0, 4.0, 2.5, 0.5, 1.0])

    def test_dry_run(self):
        out = self.dir / "out.npz"
        text = self.good("normalize", self.npz, "-o", out, "--dry-run")
        self.assertIn("4 cells x 3 genes", text)
        self.assertRegex(text, r"passes over the values: 2")
        self.assertFalse(out.exists())
        for options in ([], ["--dry-run"]):
            self.bad(1, "more than the 10 of --memory", "normalize", self.mtx, "-o", out, "--memory", "10", *options)
        plan = json.loads(self.good("normalize", self.npz, "--dry-run", "--json"))
        self.assertEqual([plan[k] for k in ("dry_run", "output", "n_cells", "nnz", "output_type", "passes")],
                         [True, None, 4, 6, "float32", 2])

    def test_check(self):
        write_npz(self.npz, data=(-1.0, 0.0, 0.5, math.nan, math.inf, 2.0), indices=(1, 0, 2, 1, 1, 2))
        found = json.loads(self.good("check", self.npz, "--json"))
        for name, count in (("n_explicit_zeros", 1), ("n_negative", 1), ("n_nan", 1), ("n_infinite", 1),
                            ("n_fractions", 1), ("n_empty", 1), ("n_unsorted", 1), ("n_duplicates", 1)):
            self.assertEqual(found[name], count, name)

    def test_quiet_and_streams(self):
        done = self.run_program("normalize", self.npz, "-o", self.dir / "out.npz", "--quiet")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        done = self.run_program("normalize", self.npz, "-o", self.dir / "out2.npz")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("median", done.stdout)

    def test_values_that_are_no_counts(self):
        out = self.dir / "out.npz"
        write_npz(self.npz, data=(-1.0, -3.0, 2.0, math.nan, 1.0, 2.0))
        done = self.run_program("normalize", self.npz, "-o", out)
        self.assertEqual(done.returncode, 0)
        self.assertIn("1 cells have a negative total", done.stderr)
        self.assertIn("1 cells hold NaN", done.stderr)
        data = read_npz(out)["data"]
        self.assertEqual(data[:3], [f32(-1 / f32(-4 / 2)), f32(-3 / f32(-4 / 2)), 2.0])
        self.assertTrue(all(math.isnan(x) for x in data[3:]))
        write_npz(self.npz, data=(0.0,) * 6)
        done = self.run_program("normalize", self.npz, "-o", out, "-f")
        self.assertEqual(done.returncode, 0)
        self.assertIn("no cell has a positive total", done.stderr)
        self.assertEqual(read_npz(out)["data"], [0.0] * 6)


@unittest.skipIf(os.environ.get("ASAN_OPTIONS") or os.environ.get("TSAN_OPTIONS"), "a sanitizer needs more")
class Memory(Command):
    """What is read as a whole takes no more memory than it says, and does not begin with less."""

    PROGRAM = 14 << 20
    # Of a process of its own: what starts a program counts as that program's, too, and this one is larger.
    CHILD = """if True:
        import os, subprocess, sys
        process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        print(process.returncode, usage.ru_maxrss)"""

    def setUp(self):
        super().setUp()
        self.base = self.peak(0, "sums", self.mtx, "--axis", "rows")

    def peak(self, code, *command):
        """Bytes of resident memory."""
        done = subprocess.run([sys.executable, "-c", self.CHILD, PROGRAM, *map(str, command)], capture_output=True,
                              text=True, timeout=120)
        found, peak = map(int, done.stdout.split())
        self.assertEqual(found, code, command)
        return peak * 1024

    def within(self, *command, threads=1):
        """Runs in the memory that it asks for, and is refused at once, not having read anything, with less."""
        command = [*command, "--threads", threads, "--memory"]
        done = self.run_program(*command, 1)
        self.assertEqual(done.returncode, 1)
        needed = int(re.search(r"needs (\d+) bytes", done.stderr)[1])
        self.assertLess(self.peak(1, *command, needed - 1) - self.base, 2 << 20)
        self.assertLess(self.peak(0, *command, needed) - self.base, needed - self.PROGRAM + (1 << 20), command)

    def write_mtx(self, path, n_rows, n_columns, field, lines):
        path.write_text(f"%%MatrixMarket matrix coordinate {field} general\n{n_rows} {n_columns} {len(lines)}\n"
                        + "\n".join(lines) + "\n")
        return path

    def test_names(self):
        """Beside a matrix, and made up."""
        n = 700000
        source = self.write_mtx(self.dir / "matrix.mtx", 10, n, "integer", ["1 1 5"])
        (self.dir / "barcodes.tsv").write_text("".join(f"AAACCTGAGAAACCATTG{i:07}-1\n" for i in range(n)))
        self.within("sums", source, "--axis", "rows")
        self.within("normalize", source, "-o", self.dir / "named.h5ad")
        self.within("normalize", source, "-o", self.dir / "named.npz")
        (self.dir / "barcodes.tsv").unlink()
        self.within("normalize", source, "-o", self.dir / "numbered.h5ad")
        write_npz(self.npz, shape=(n, 3), indptr=(0, 2, 3, 3) + (6,) * (n - 3))
        self.within("normalize", self.npz, "-o", self.dir / "whole.h5ad")

    def test_repeated_entries(self):
        """And by many threads, which take no more than there is."""
        n, seed, places = 1200000, 1, []
        for _ in range(n):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            places.append(f"{1 + (seed >> 8) % 2000} {1 + (seed >> 16) % 500}")
        pattern = self.write_mtx(self.dir / "pattern.mtx", 2000, 500, "pattern", places)
        integer = self.write_mtx(self.dir / "integer.mtx", 2000, 500, "integer", [p + " 7" for p in places])
        for source in (pattern, integer):
            self.within("sums", source, "--axis", "columns", threads=2)
            self.within("normalize", source, "-o", source.with_suffix(".mtx.gz"), threads=16)
        self.assertEqual([7 * int(x) for x in self.good("sums", pattern, "--axis", "columns").split()],
                         [int(x) for x in self.good("sums", integer, "--axis", "columns").split()])

    def test_columns(self):
        """Cells in columns are summed by every thread; values of the same type are scaled in place."""
        n = 400000
        factors = self.dir / "factors.npy"
        factors.write_bytes(npy([2.0] * 1000, "d"))
        write_npz(self.npz, shape=(1000, n), data=(1.0,) * n, indices=tuple(range(n)), indptr=tuple(range(0, n + 1, n // 1000)))
        self.within("scale", self.npz, "-o", self.dir / "scaled.h5ad", "--axis", "rows", "--by", factors, "--op", "divide")
        self.within("normalize", self.npz, "-o", self.dir / "columns.h5ad", "--cells", "columns", threads=4)


    def test_pieces(self):
        """With names, that libhdf5 copies, and without; with many chunks."""
        many, source = self.dir / "many.h5ad", self.dir / "source.h5ad"
        self.good("simulate", "-o", many, "--cells", "100000", "--genes", "2000", "--depth", "20")
        self.good("simulate", "-o", source, "--cells", "4000", "--compression", "gzip")
        for path in (many, source):
            self.within("normalize", path, "-o", self.dir / f"pieces-{path.name}")


class Pieces(Command):
    """From .h5ad to .h5ad, which goes through memory in pieces."""

    def setUp(self):
        super().setUp()
        self.sim, self.out = self.dir / "sim.h5ad", self.dir / "o.h5ad"
        self.good("simulate", "-o", self.sim, "--cells", "300", "--genes", "2000", "--compression", "gzip")

    def test_report_and_plan(self):
        report = json.loads(self.good("normalize", self.sim, "-o", self.out, "--json"))
        self.assertTrue(report["in_pieces"])
        self.assertEqual(sorted(report["seconds"]), ["copy", "normalize", "sync", "totals"])
        self.assertRegex(self.good("normalize", self.sim, "-o", self.out, "--force"), r"totals .* s, copied the rest")
        plan = json.loads(self.good("normalize", self.sim, "--dry-run", "--json", "--memory", "30M", "--threads", "2"))
        self.assertEqual([plan[k] for k in ("in_pieces", "passes", "nnz", "memory_limit_bytes", "workers")],
                         [True, 2, report["nnz"], 30 << 20, 2])
        self.assertLess(plan["memory_bytes"], 30 << 20)
        self.assertLess(plan["read_bytes"], plan["write_bytes"] // 2)
        text = self.good("normalize", self.sim, "--dry-run", "--exclude-highly-expressed")
        self.assertRegex(text, r"passes over the values: 4\n(.*\n)*in pieces of \d+ values, \d+ at once")
        whole = json.loads(self.good("normalize", self.sim, "-o", self.dir / "o.npz", "--json"))
        self.assertFalse(whole["in_pieces"])
        self.assertEqual([whole[k] for k in ("target_sum", "nnz")], [report[k] for k in ("target_sum", "nnz")])

    def on_terminal(self, *arguments):
        """The lines that a terminal shows in the end."""
        ours, its = pty.openpty()
        with subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=its, stderr=its) as program:
            os.close(its)
            text = b""
            try:
                while part := os.read(ours, 65536):
                    text += part
            except OSError:  # how Linux tells that nobody writes any more
                pass
            os.close(ours)
        self.assertEqual(program.returncode, 0, text)
        self.assertIn(b" s left ", text)
        lines = []
        for line in text.decode().replace("\r\n", "\n").split("\n"):
            shown = ""
            for part in line.split("\r"):
                shown = part + shown[len(part):]
            lines.append(shown.rstrip())
        return lines

    def test_progress(self):
        """Nothing of it stays, and nothing is printed beside it."""
        mtx, by = self.dir / "sim.mtx", self.dir / "by.txt"
        by.write_text("1\n" * 300)
        for commands in (["normalize", "-o", self.out], ["normalize", "-o", mtx], ["sums", "--axis", "rows"],
                         ["scale", "--axis", "rows", "--by", by, "--op", "divide", "-f", "-o", self.out],
                         ["scale", "--axis", "rows", "--by", by, "--op", "divide", "-f", "-o", mtx]):
            lines = self.on_terminal(commands[0], self.sim, *commands[1:])
            self.assertRegex(lines[0], rf"^({re.escape(str(self.sim))}: |[0-9.]+$)")
            self.assertNotIn(" s left", "\n".join(lines))
        lines = self.on_terminal("sums", mtx, "--axis", "columns")
        self.assertRegex(lines[0], "^[0-9.]+$")

    def test_same_file_for_any_threads(self):
        """And for any memory that is enough for pieces: the same values in the same places; deflated they may differ by
        some bytes."""
        files = set()
        for options in ([], ["--threads", "1"], ["--threads", "5"], ["--memory", "26M", "--threads", "3"]):
            self.good("normalize", self.sim, "-o", self.out, "--force", "--log1p", "--compression", "none", *options)
            files.add(digest(self.out))
        self.assertEqual(len(files), 1)

    def test_in_place(self):
        arguments = ("--force", "--compression", "none", "--output")
        self.good("normalize", self.sim, *arguments, self.out)
        self.good("normalize", self.sim, *arguments, self.sim)
        self.assertEqual(digest(self.sim), digest(self.out))

    def test_sums_and_scale(self):
        """In pieces as in memory: an .mtx, which is read whole, holds the same matrix; and the same limits."""
        by, mtx, other = self.dir / "by.txt", self.dir / "same.mtx", self.dir / "same.h5ad"
        self.good("normalize", self.sim, "-o", mtx, "-q")
        self.good("normalize", self.sim, "-o", other, "-q")
        for axis in ("rows", "columns"):
            sums = self.good("sums", other, "--axis", axis, "--memory", "30M")
            self.assertEqual(sums, self.good("sums", mtx, "--axis", axis))
            by.write_text(sums)
            outputs = [self.dir / "scaled.npz", self.dir / "other.npz", self.dir / "scaled.h5ad"]
            arguments = ["--axis", axis, "--by", by, "--op", "divide", "--zero", "one", "-q", "-f", "-o"]
            self.good("scale", other, "--memory", "30M", *arguments, outputs[2])
            self.good("scale", mtx, *arguments, outputs[0])
            self.good("normalize", outputs[2], "--target-sum", "1", "-f", "-q", "-o", outputs[2])
            self.good("normalize", outputs[0], "--target-sum", "1", "-f", "-q", "-o", outputs[1])
            self.assertEqual(self.good("sums", outputs[2], "--axis", "columns"),
                             self.good("sums", outputs[1], "--axis", "columns"))
        for command in (["sums", mtx], ["sums", self.sim], ["scale", self.sim, "--by", by, "--op", "divide", "-o", self.out]):
            self.bad(1, "more than the 1000 of --memory", *command, "--axis", "columns", "--memory", "1000")

    def test_npz(self):
        """From .npz to .npz: the same for any threads and memory, and as in memory, which a file of another format is in."""
        npz, out, whole = self.dir / "sim.npz", self.dir / "o.npz", self.dir / "whole.npz"
        self.good("simulate", "-o", npz, "--cells", "300", "--genes", "2000")
        for way in ([], ["--target-sum", "1e4", "--log1p"], ["--exclude-highly-expressed", "--max-fraction", "0.02"]):
            self.assertFalse(json.loads(self.good("normalize", self.sim, "-o", whole, "--force", "--json", *way))["in_pieces"])
            files = set()
            for options in ([], ["--threads", "1"], ["--threads", "5"], ["--memory", "24M", "--threads", "3"]):
                report = json.loads(self.good("normalize", npz, "-o", out, "--force", "--json", *way, *options))
                self.assertTrue(report["in_pieces"])
                files.add(digest(out))
            self.assertEqual(len(files), 1)
            self.assertEqual(read_npz(out), read_npz(whole))
        for axis in ("rows", "columns"):
            self.assertEqual(self.good("sums", npz, "--axis", axis, "--memory", "24M"), self.good("sums", self.sim, "--axis", axis))
        self.good("normalize", npz, "-o", npz, "--force", *way)
        self.assertEqual(digest(npz), digest(out))
        for option, kind in (("none", zipfile.ZIP_STORED), ("gzip", zipfile.ZIP_DEFLATED), ("keep", zipfile.ZIP_DEFLATED)):
            self.good("normalize", npz, "-o", out, "--force", "--compression", option)
            with zipfile.ZipFile(out) as z:
                self.assertEqual({i.compress_type for i in z.infolist()}, {kind})
                self.assertIsNone(z.testzip())
        self.bad(1, "more than the 1000 of --memory", "normalize", npz, "-o", self.dir / "n.npz", "--memory", "1000")

    def test_sums_output_first(self):
        """That the sums cannot be written is said before there is anything to say of the matrix."""
        out = self.dir / "sums.txt"
        out.write_text("old")
        arguments = ["sums", self.sim, "--axis", "rows", "--memory", "1000", "-o"]
        self.bad(1, "exists already", *arguments, out)
        self.bad(1, "cannot write into", *arguments, self.dir / "none" / "sums.txt")

    def test_too_little_memory(self):
        self.bad(1, "more than the 1000 of --memory", "normalize", self.sim, "-o", self.out, "--memory", "1000",
                 output=self.out)

    def test_ended_by_signals(self):
        """At any moment; a signal that cannot be caught leaves no more than a hidden file."""
        self.good("simulate", "-o", self.sim, "--force", "--cells", "1500", "--genes", "5000", "--compression", "gzip")
        before = sorted(self.dir.iterdir())
        whole = digest(self.sim)
        arguments = ("normalize", self.sim, "--compression", "none", "-o", self.out)
        self.good(*arguments)
        result = digest(self.out)
        self.out.unlink()
        for k, number in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL) * 6):
            process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.DEVNULL)
            time.sleep(0.01 * (k + 1))
            process.send_signal(number)
            code = process.wait(60)
            left = sorted(set(self.dir.iterdir()) - set(before))
            self.assertIn(code, (0, -number))
            self.assertTrue(code or left == [self.out])
            for p in left:
                if p == self.out:
                    self.assertEqual(digest(p), result)
                else:
                    self.assertTrue(number == signal.SIGKILL and p.name.startswith(".o.h5ad."), left)
                p.unlink()
            self.assertEqual(digest(self.sim), whole)


class Failures(Command):
    def test_usage(self):
        out = self.dir / "o.npz"
        n = ("normalize", self.npz, "-o", out)
        for target in ("0", "-1", "nan", "inf", "1e", "", "many"):
            self.bad(2, "--target-sum is", *n, "--target-sum", target, output=out)
        for fraction in ("-0.1", "1.1", "nan", "x"):
            self.bad(2, "--max-fraction", *n, "--max-fraction", fraction, output=out)
        for base in ("0", "1", "-2", "inf"):
            self.bad(2, "--log-base", *n, "--log-base", base, output=out)
        for threads in ("0", "-1", "two", "1.5"):
            self.bad(2, "--threads", *n, "--threads", threads, output=out)
        self.bad(2, "--device", *n, "--device", "tpu", output=out)
        self.bad(2, "--device", *n, "--device", "cuda:x", output=out)
        self.bad(2, "--compression", *n, "--compression", "gzip:10", output=out)
        self.bad(2, "--memory", *n, "--memory", "lots", output=out)
        self.bad(2, "--cells", *n, "--cells", "up", output=out)
        self.bad(2, "--memory", *n, "--memory", "5 ", output=out)
        self.bad(2, "unknown option --frobnicate", *n, "--frobnicate", output=out)
        self.bad(2, "unknown option -z", *n, "-zq", output=out)
        self.bad(2, "unknown option -z", *n, "-qz", output=out)
        self.bad(2, "option --quiet takes no value", *n, "--quiet=1", output=out)
        self.bad(2, "needs a value", "normalize", self.npz, "-o")
        self.bad(2, "--output is missing", "normalize", self.npz)
        self.bad(2, "INPUT is missing", "normalize", "-o", out)
        self.bad(2, "unexpected argument", *n, "another", output=out)
        self.bad(2, "--axis is missing", "sums", self.npz)
        self.bad(2, "all needed", "scale", self.npz, "-o", out)
        self.bad(2, "name does not say a format", "normalize", self.npz, "-o", self.dir / "out.csv")
        self.bad(2, "--key-added", *n, "--key-added", "nf", output=out)
        # What is wrong with the output is said before anything is read, by a dry run, too.
        for key in ("", ".", "a/b", "_index", "__categories"):
            self.bad(2, "name of the column", "normalize", self.npz, "-n", "-o", self.dir / "o.h5ad", "--key-added", key)
        for name, how, other in (("o.mtx", "gzip:9", "none"), ("o.mtx.gz", "none", "gzip:9")):
            self.bad(2, "compressed", "normalize", self.npz, "-o", self.dir / name, "--compression", how)
            self.good("normalize", self.npz, "-n", "-o", self.dir / name, "--compression", other)
        self.bad(1, "1e.39", "normalize", self.npz, "-n", "-o", self.dir / "o.npz", "--target-sum", "1e39")
        done = self.run_program("frobnicate")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(self.run_program().returncode, 2)

    def test_cuda_is_not_built(self):
        out = self.dir / "o.npz"
        if "no CUDA" in self.good("--version"):
            self.bad(1, "no cuda backend", "normalize", self.npz, "-o", out, "--device", "cuda", output=out)

    def test_unknown_instruction_set(self):
        self.bad(1, "unknown", "sums", self.npz, "--axis", "rows", env={**os.environ, "CSRNORM_ISA": "sse9"})

    def test_no_such_things(self):
        out = self.dir / "o.h5ad"
        self.bad(1, "No such file", "normalize", self.dir / "none.h5ad", "-o", out, output=out)
        self.bad(1, "directory", "normalize", self.dir, "-o", out, output=out)
        self.bad(1, "cannot write into the directory", "normalize", self.npz, "-o", self.dir / "none" / "o.npz")
        empty = self.dir / "empty.h5ad"
        empty.write_bytes(b"")
        self.bad(1, "empty", "normalize", empty, "-o", out, output=out)

    def test_random_bytes(self):
        out = self.dir / "o.h5ad"
        junk = self.dir / "junk.h5ad"
        junk.write_bytes(hashlib.sha512(b"seed").digest() * 1000)
        self.bad(1, "not a count matrix", "normalize", junk, "-o", out, output=out)
        junk.write_bytes(b"\x89HDF\r\n\x1a\n" + hashlib.sha512(b"seed").digest() * 1000)
        self.bad(1, "junk.h5ad", "normalize", junk, "-o", out, output=out)

    def test_truncated(self):
        out = self.dir / "o.npz"
        for name in ("sim.h5ad", "sim.npz", "sim.mtx.gz", "sim.mtx"):
            source = self.dir / name
            self.good("simulate", "-o", source, "--cells", "100", "--genes", "500")
            whole = source.read_bytes()
            for share in (0.1, 0.5, 0.9, 0.999):
                source.write_bytes(whole[: int(len(whole) * share)])
                self.bad(1, name, "normalize", source, "-o", out, output=out)

    def test_bad_structure(self):
        out = self.dir / "o.npz"
        n = ("normalize", self.npz, "-o", out)
        cases = (
            ({"indices": (0, 1, 3, 0, 1, 2)}, r"indices(.npy is not valid: element |\[)2\]?, in row 1, is 3; expected 0 to n_cols - 1 = 2"),
            ({"indices": (0, 1, -1, 0, 1, 2)}, r"is -1"),
            ({"indptr": (0, 3, 2, 3, 6)}, r"decreases in row 1: from 3 to 2"),
            ({"indptr": (-1, 2, 3, 3, 6)}, r"indptr(\[0\] is|.npy starts with) -1"),
            ({"indptr": (0, 2, 3, 3, 7)}, r"(is 7; expected at most nnz =|ends with 7, expected at most the number of values,) 6"),
            ({"indptr": (0, 2, 3, 6)}, r"indptr has 4 elements; expected 5"),
            ({"data": (1.0, 2.0)}, r"6 indices for 2 values"),
            ({"shape": (4, -3)}, r"negative"),
            ({"layout": b"bsr"}, r'format is "bsr"'),
        )
        for change, message in cases:
            with self.subTest(change=change):
                write_npz(self.npz, **change)
                self.bad(1, message, *n, output=out)
                self.bad(1, message, "check", self.npz)

    def test_bad_matrix_market(self):
        out = self.dir / "o.npz"
        lines = MTX.splitlines()
        cases = (
            (lines[:8], "ends after 5 entries; expected 6"),
            (lines + ["1 2 3"], "line 10 .*more entries"),
            (lines[:5] + ["4 1 3"] + lines[6:], "line 6 .*row is outside"),
            (lines[:5] + ["0 1 3"] + lines[6:], "line 6 .*row is outside"),
            (lines[:5] + ["2 5 3"] + lines[6:], "line 6 .*column is outside"),
            (lines[:5] + ["2 1 x"] + lines[6:], "line 6 .*expected an integer"),
            (lines[:5] + ["2 1 1.5"] + lines[6:], "line 6 .*expected an integer"),
            (lines[:5] + ["2 1"] + lines[6:], "line 6 .*expected an integer"),
            (lines[:5] + ["2"] + lines[6:], "line 6 .*expected a row and a column"),
            (lines[:2] + ["3 4"] + lines[3:], "line 3 .*numbers of rows"),
            ([lines[0].replace("general", "symmetric")] + lines[1:], "symmetry is"),
            ([lines[0].replace("coordinate", "array")] + lines[1:], "format is"),
            ([lines[0].replace("integer", "complex")] + lines[1:], "field is"),
        )
        for text, message in cases:
            with self.subTest(message=message):
                self.mtx.write_text("\n".join(text) + "\n")
                self.bad(1, message, "normalize", self.mtx, "-o", out, output=out)

    def test_matrix_market_as_people_write_it(self):
        out = self.dir / "out.npz"
        variants = (MTX.replace("\n", "\r\n"), MTX.replace(" ", "  "), MTX.rstrip("\n"), MTX + "\n\n",
                    "\n".join(MTX.splitlines()[:3] + list(reversed(MTX.splitlines()[3:]))))
        for text in variants:
            self.mtx.write_text(text)
            self.good("normalize", self.mtx, "-o", out, "--force")
            self.assertEqual(sorted(read_npz(out)["data"]), [0.5, 1.0, 1.0, 2.5, 3.0, 4.0])
        gz = self.dir / "two.mtx.gz"  # two members, cut within a line
        gz.write_bytes(gzip.compress(MTX[:100].encode()) + gzip.compress(MTX[100:].encode()))
        self.good("normalize", gz, "-o", out, "--force")
        self.assertEqual(read_npz(out)["data"], [1.0, 3.0, 4.0, 2.5, 0.5, 1.0])

    def test_full_disk(self):
        """A limit on the size of files fails writes as a full disk does."""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        source = self.dir / "sim.npz"
        self.good("simulate", "-o", source, "--cells", "200", "--genes", "1000")
        for name in ("o.h5ad", "o.npz", "o.mtx", "o.mtx.gz"):
            with self.subTest(name=name):
                out = self.dir / name
                self.bad(1, name, "normalize", source, "-o", out, output=out, preexec_fn=limit)

    def test_limit_on_files(self):
        """The signal that the system sends at such a limit does not end the program before it has cleaned up."""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        source = self.dir / "sim.npz"
        self.good("simulate", "-o", source, "--cells", "200", "--genes", "1000")
        for name in ("o.npz", "o.mtx"):
            out = self.dir / name
            self.bad(1, "File too large", "normalize", source, "-o", out, output=out, preexec_fn=limit)

    def test_full_file_system(self):
        if os.geteuid() != 0:
            self.skipTest("mounting a small file system needs root")
        small = self.dir / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], capture_output=True).returncode:
            self.skipTest("no file system can be mounted here")
        try:
            for name in ("o.h5ad", "o.npz", "o.mtx"):
                done = self.run_program("simulate", "-o", small / name, "--cells", "200", "--genes", "1000")
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, name)
                self.assertEqual(list(small.iterdir()), [])
        finally:
            subprocess.run(["umount", small], check=True)

    def test_no_permission(self):
        """As another user, since root may write anywhere."""
        if os.geteuid() != 0:
            self.skipTest("changing the user needs root")
        def nobody():
            os.setgid(65534)
            os.setuid(65534)

        program = self.dir / "csrnorm"
        program.write_bytes(Path(PROGRAM).read_bytes())
        program.chmod(0o755)
        self.dir.chmod(0o755)
        secret = self.dir / "secret.npz"
        secret.write_bytes(self.npz.read_bytes())
        secret.chmod(0o600)
        self.npz.chmod(0o644)
        out = self.dir / "o.npz"
        before = sorted(self.dir.iterdir())
        for source, target, message in ((self.npz, out, "cannot write into the directory"),
                                        (secret, "/tmp/never.npz", "Permission denied")):
            done = subprocess.run([program, "normalize", source, "-o", target], capture_output=True, text=True,
                                  preexec_fn=nobody, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, message)
            self.assertEqual(sorted(self.dir.iterdir()), before)
            self.assertFalse(Path(target).exists())

    def test_too_large_for_memory(self):
        out = self.dir / "o.npz"
        self.bad(1, "more than the 10 of --memory", "normalize", self.npz, "-o", out, "--memory", "10", output=out)

    def test_memory_of_text(self):
        """A text is held as entries and as a matrix while it is read: --memory knows it."""
        source, out = self.dir / "sim.mtx", self.dir / "o.npz"
        self.good("simulate", "-o", source, "--cells", "500", "--genes", "2000")
        report = json.loads(self.good("normalize", source, "-o", out, "--json"))
        needed = json.loads(self.good("normalize", source, "--dry-run", "--json"))["memory_bytes"]
        held = needed - (14 << 20)  # the program, and
        self.assertGreaterEqual(held, 20 * report["nnz"])
        self.assertLess(held, 21 * report["nnz"] + (4 << 20))  # a block of text
        # Reals without a note of their type may need float64.
        text = source.read_text().splitlines()
        source.write_text("\n".join(line for line in text if "loat" not in line) + "\n")
        unsure = json.loads(self.good("normalize", source, "--dry-run", "--json"))["memory_bytes"]
        self.assertEqual(unsure - needed, 4 * report["nnz"])

    def test_interrupted(self):
        """A signal while writing leaves nothing behind."""
        source, out = self.dir / "sim.npz", self.dir / "o.mtx.gz"
        self.good("simulate", "-o", source, "--cells", "2000", "--genes", "5000")
        before = sorted(self.dir.iterdir())
        for number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen([PROGRAM, "normalize", source, "-o", out], stdout=subprocess.DEVNULL)
            deadline = time.time() + 60
            while sorted(self.dir.iterdir()) == before and time.time() < deadline and process.poll() is None:
                time.sleep(0.005)
            self.assertNotEqual(sorted(self.dir.iterdir()), before)
            process.send_signal(number)
            self.assertEqual(process.wait(60), -number)
            self.assertEqual(sorted(self.dir.iterdir()), before)

    def run_with_signal(self, number, action):
        """Sends `number` to a run that has begun to write, and was started with `action` for that signal."""
        source, out = self.dir / "sim.npz", self.dir / "o.mtx.gz"
        self.good("simulate", "-o", source, "--force", "--cells", "500", "--genes", "2000")
        before = sorted(self.dir.iterdir())
        process = subprocess.Popen([PROGRAM, "normalize", source, "-o", out], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(number, action))
        deadline = time.time() + 60
        while sorted(self.dir.iterdir()) == before and time.time() < deadline and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        code = process.wait(60)
        return code, sorted(set(self.dir.iterdir()) - set(before))

    def test_ignored_signals(self):
        """What nohup and shells in the background ignore stays ignored."""
        for number in (signal.SIGHUP, signal.SIGINT):
            code, made = self.run_with_signal(number, signal.SIG_IGN)
            self.assertEqual((code, made), (0, [self.dir / "o.mtx.gz"]))
            made[0].unlink()

    def test_crash(self):
        """A crash, as of libhdf5 on some damaged files, leaves nothing behind either."""
        if os.environ.get("ASAN_OPTIONS") or os.environ.get("TSAN_OPTIONS"):
            self.skipTest("a sanitizer has handlers of its own")
        for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM):
            self.assertEqual(self.run_with_signal(number, signal.SIG_DFL), (-number, []))

    def test_pipes_are_refused(self):
        """Before they are opened, which would wait for somebody to write."""
        pipe, out = self.dir / "pipe", self.dir / "o.npz"
        os.mkfifo(pipe)
        self.bad(1, "is a pipe", "info", pipe)
        self.bad(1, "is a pipe", "normalize", pipe, "-o", out, output=out)
        self.bad(1, "is a pipe", "scale", self.npz, "-o", out, "--axis", "rows", "--by", pipe, "--op", "divide", output=out)
        self.bad(1, "is a device", "info", "/dev/null")

    def test_names_that_are_no_text(self):
        """Paths may be any bytes, and JSON may not; nor may the name of a column in a file."""
        path = os.fsencode(self.dir) + b"/\xff\xc3(\xc3\xa9.npz"
        with open(path, "wb") as file:
            file.write(self.npz.read_bytes())
        done = subprocess.run([PROGRAM, "info", path, "--json"], capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.path.basename(json.loads(done.stdout.decode())["input"]), "\ufffd\ufffd(\u00e9.npz")
        h5ad, out = self.dir / "sim.h5ad", self.dir / "o.h5ad"
        self.good("simulate", "-o", h5ad, "--cells", "5", "--genes", "10")
        done = subprocess.run([PROGRAM, "normalize", h5ad, "-o", out, "--key-added", b"\xff"], capture_output=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"not UTF-8", done.stderr)
        self.assertFalse(out.exists())

    def test_options_that_a_file_has_no_use_for(self):
        """Whether an option fits is up to the file: exit code 1 in every format."""
        out, h5ad = self.dir / "o.h5ad", self.dir / "sim.h5ad"
        self.good("simulate", "-o", h5ad, "--cells", "5", "--genes", "10")
        for option in ("--layer", "--genome", "--feature-types"):
            for source in (self.mtx, self.npz, h5ad):
                self.bad(1, source.name, "normalize", source, "-o", out, option, "x", output=out)
        self.bad(1, "sim.h5ad", "normalize", h5ad, "-o", out, "--cells", "columns", output=out)

    def test_output_cannot_be_printed(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, "sums", self.npz, "--axis", "rows"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output", done.stderr)


class Documentation(Command):
    def options(self):
        found = {}
        usage = self.good("--help")
        for command in re.findall(r"^  ([a-z]+) ", usage, re.M):
            text = self.good(command, "--help")
            found[command] = set(re.findall(r"--[a-z0-9][a-z0-9-]*", text))
        return found

    def test_man_page(self):
        page = (ROOT / "docs" / "csrnorm.1").read_text()
        for command, options in self.options().items():
            self.assertIn(f".It Cm {command}", page)
            for option in options if command != "bench" else ():
                self.assertIn("Fl " + option[1:], page, f"{command} {option}")

    def test_completion(self):
        script = ROOT / "cli" / "completions" / "csrnorm.bash"
        def complete(*words):
            line = " ".join(f"'{w}'" for w in words)
            code = (f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _csrnorm; "
                    'printf "%s\\n" "${COMPREPLY[@]}"')
            return set(subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split())
        found = self.options()
        self.assertLessEqual(set(found), complete(PROGRAM, ""))
        for command, options in found.items():
            self.assertLessEqual(options, complete(PROGRAM, command, "--"))
        self.assertEqual(complete(PROGRAM, "sums", "--axis", "c"), {"columns"})

    def test_version(self):
        text = self.good("--version")
        self.assertRegex(text, r"^csrnorm \d+\.\d+\.\d+")
        for library in ("HDF5", "libzip", "zlib", "CUDA"):
            self.assertIn(library, text)


@unittest.skipUnless(DATA, "CSRNORM_TEST_DATA is not set")
class TestData(Command):
    def test_every_file(self):
        """The right result, or one clear sentence, exit code 1 and no output."""
        files = sorted(p for p in Path(DATA).iterdir() if p.suffix in (".h5ad", ".h5", ".gz"))
        self.assertGreater(len(files), 10)
        for path in files:
            with self.subTest(path=path.name):
                before = digest(path)
                out = self.dir / (path.name + ".h5ad")
                done = self.run_program("normalize", path, "-o", out, "--json")
                self.assertEqual(digest(path), before)
                if done.returncode == 0:
                    report = json.loads(done.stdout)
                    sums = [float(x) for x in self.good("sums", out, "--axis", "rows").split()]
                    self.assertEqual(len(sums), report["n_cells"])
                    full = [s for s in sums if s != 0]
                    self.assertEqual(len(sums) - len(full), report["n_empty_cells"])
                    for s in full:
                        self.assertLess(abs(s - report["target_sum"]), 1e-4 * report["target_sum"])
                else:
                    self.assertEqual(path.name, "tenx_v2_two_genomes.h5")
                    self.assertEqual(done.returncode, 1)
                    self.assertRegex(done.stderr, "genome")
                    self.assertFalse(out.exists())


if __name__ == "__main__":
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=2)
