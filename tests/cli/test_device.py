"""The command line on a device: the same files to the byte as on the CPU, reports that name the device, errors that
the device has met, and one sentence where there is no such device.

Usage: test_device.py CSRNORM. Needs the standard library alone. What needs a device is skipped where there is none;
a program built for the tests' stand-in for CUDA always has one.
"""

import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_cli import MTX, digest, npy, read_npz, write_npz  # noqa: E402

PROGRAM = str(Path(sys.argv.pop(1)).resolve())
BRIEF = os.environ.get("CSRNORM_TEST_BRIEF") == "1"  # each choice, but not all of their combinations


def devices():
    done = subprocess.run([PROGRAM, "devices", "--json"], capture_output=True, text=True)
    found = json.loads(done.stdout)["devices"]
    if done.returncode != (1 if any("missing" in device for device in found) else 0):
        raise SystemExit(f"csrnorm devices: exit code {done.returncode}; {done.stdout}{done.stderr}")
    return found


CUDA = [device for device in devices() if device["backend"] == "cuda"]
HAS_DEVICE = "name" in CUDA[0]
NEEDS_DEVICE = unittest.skipUnless(HAS_DEVICE, CUDA[0].get("missing"))


# Of the link (up, down, both), copying, pinning, the CPU; seconds of a call.
DEVICE_WINS, CPU_WINS = "1e12,1e12,1e12,1e12,1e12,1e3,0", "1e3,1e3,1e3,1e12,1e12,1e9,0"


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = Path(self.folder.name)
        self.npz, self.out, self.by = self.dir / "counts.npz", self.dir / "out.npz", self.dir / "by.npy"
        write_npz(self.npz)

    def tearDown(self):
        self.folder.cleanup()

    def run_program(self, *arguments, **options):
        return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)

    def good(self, *arguments, **options):
        done = self.run_program(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def bad(self, pattern, *arguments, **options):
        """Exit code 1, one sentence that matches, no output."""
        done = self.run_program(*arguments, **options)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertFalse(self.out.exists())

    def commands(self):
        """Every command that computes, with a valid command line but for --device."""
        self.by.write_bytes(npy([2.0, 1.0, 0.5, 4.0], "d"))
        return (("normalize", self.npz, "-o", self.out), ("sums", self.npz, "--axis", "rows"), ("check", self.npz),
                ("scale", self.npz, "-o", self.out, "--axis", "rows", "--by", self.by, "--op", "multiply"))


class Missing(Case):
    def test_no_such_device(self):
        """Not built, no device and no device of that number are three sentences."""
        if HAS_DEVICE:
            sentence, asked = f"has CUDA devices? 0( to {len(CUDA) - 1})?", f"cuda:{len(CUDA)}"
        elif "no CUDA" in self.good("--version"):
            sentence, asked = "this build of csrnorm has no cuda backend", "cuda"
        else:
            sentence, asked = "no CUDA device: ", "cuda"
        for command in self.commands():
            self.bad(sentence, *command, "--device", asked)

    def test_devices_says_what_is_missing(self):
        done = self.run_program("devices")
        text = done.stdout
        self.assertEqual((done.returncode, done.stderr), (0 if HAS_DEVICE else 1, ""))
        self.assertRegex(text, r"(?m)^cpu:0  ")
        if HAS_DEVICE:
            self.assertRegex(text, r"(?m)^cuda:0  .+ multiprocessors, .+ sm_\d+")
        else:
            self.assertRegex(text, r"(?m)^cuda  none: ")
            self.assertIn(CUDA[0]["missing"], text)

    @unittest.skipUnless("cuda_host" in PROGRAM, "not the program with the stand-in for CUDA")
    def test_without_any_device(self):
        none = {**os.environ, "CSRN_SIMT_DEVICES": "0"}
        done = self.run_program("devices", env=none)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertRegex(done.stdout, "cuda  none: no CUDA device: ")
        for command in self.commands():
            self.bad("no CUDA device: ", *command, "--device", "cuda", env=none)
        done = self.run_program("bench", "--cells", "50", "--genes", "60", "--device", "cuda", "--json", env=none)
        self.assertEqual(done.returncode, 1)
        row, = json.loads(done.stdout)["results"]
        self.assertEqual((row["operation"], row["device"], row["check"]), ("context", "cuda", "error"))
        self.assertIn("no CUDA device", row["detail"])

    def test_auto_says_why(self):
        """A small matrix is the CPU's at once; a device that would be faster has to be there; in pieces nobody asks."""
        text = self.dir / "counts.mtx"
        text.write_text(MTX)
        pieces = json.loads(self.good("normalize", self.npz, "-o", self.out, "--json", env={**os.environ, "CSRNORM_RATES": DEVICE_WINS}))
        self.assertEqual((pieces["backend"], pieces["auto"]), ("cpu", {"reason": "in pieces, as they are read and written"}))

        def why(**environment):
            report = json.loads(self.good("normalize", text, "-o", self.out, "--force", "--json",
                                          env={**os.environ, **environment}))
            self.assertEqual(report["backend"], "cpu")
            return report["auto"]
        self.assertEqual(why(), {"reason": "fewer than 4194304 values"})
        missing = why(CSRNORM_RATES=DEVICE_WINS, CSRN_SIMT_DEVICES="0") if not HAS_DEVICE or "cuda_host" in PROGRAM else None
        if missing:
            self.assertRegex(missing["reason"], "no CUDA device|no cuda backend")
            self.assertNotIn("device_seconds", missing)
        named = json.loads(self.good("normalize", self.npz, "-o", self.out, "--force", "--json", "--device", "cpu",
                                     env={**os.environ, "CSRNORM_RATES": DEVICE_WINS}))
        self.assertNotIn("auto", named)
        done = self.run_program("normalize", text, "-o", self.out, "--force", env={**os.environ, "CSRNORM_RATES": "1,2"})
        self.assertEqual(done.returncode, 2)
        self.assertIn("CSRNORM_RATES", done.stderr)

    def test_auto_is_the_cpu(self):
        self.assertEqual(json.loads(self.good("normalize", self.npz, "-o", self.out, "--json", "--device", "auto"))["backend"], "cpu")


@NEEDS_DEVICE
class Results(Case):
    def both(self, *command, output=None):
        """The same files and the same text from both."""
        texts, files = [], []
        for device in ("cpu", "cuda"):
            texts.append(self.good(*command, "--device", device))
            files.append(digest(output) if output else None)
        if output:
            self.assertEqual(files[0], files[1], command)
        else:
            self.assertEqual(texts[0], texts[1], command)

    def source(self, kind):
        path = self.dir / f"simulated-{kind}.npz"
        self.good("simulate", "-o", path, "--cells", "60", "--genes", "300", "--depth", "900")
        m = read_npz(path)
        write_npz(path, **{**m, "data": [int(x) % 200 if kind in "iqB" else x for x in m["data"]]}, kind=kind)
        return path

    def test_normalize(self):
        ways = ((), ("--target-sum", "1e4", "--log1p"), ("--target-sum", "mean"), ("--log-base", "2"),
                ("--exclude-highly-expressed", "--max-fraction", "0.02", "--log1p"))
        for i, kind in enumerate("fdiqB"):
            path = self.source(kind)
            for way in ways[i:i + 1] if BRIEF else ways:
                self.both("normalize", path, "-o", self.out, "--force", *way, output=self.out)

    def test_factors(self):
        path, out = self.dir / "a.h5ad", self.dir / "b.h5ad"
        self.good("simulate", "-o", path, "--cells", "60", "--genes", "300", "--depth", "900")
        # The factors (contiguous in the file) and the values (as the .npz has them) must be there.
        flat = self.dir / "flat.npz"
        totals = [float(t) for t in self.good("sums", path, "--axis", "rows").split()]
        for device in ("cpu", "cuda"):
            done = self.good("normalize", path, "-o", out, "--force", "--key-added", "size_factors", "--json",
                             "--device", device)
            target = json.loads(done)["target_sum"]
            factors = [struct.unpack("f", struct.pack("f", t / target))[0] for t in totals]
            self.good("normalize", path, "-o", flat, "--force", "--device", device)
            values = read_npz(flat)["data"]
            content = out.read_bytes()
            self.assertIn(struct.pack(f"{len(factors)}f", *factors), content, device)
            self.assertIn(struct.pack(f"{len(values)}f", *values), content, device)

    def test_cells_in_columns(self):
        write_npz(self.npz, data=(1.0, 5.0, 3.0, 1.0, 2.0, 2.0), indices=(0, 3, 0, 3, 1, 3), indptr=(0, 2, 4, 6), layout=b"csc")
        self.both("normalize", self.npz, "-o", self.out, "--force", "--log1p", output=self.out)
        for axis in ("rows", "columns"):
            self.both("sums", self.npz, "--axis", axis)

    def test_sums_and_scale(self):
        for i, kind in enumerate("fdiqB"):
            path = self.source(kind)
            for axis, n in (("rows", 60), ("columns", 300)):
                self.both("sums", path, "--axis", axis)
                self.by.write_bytes(npy([0.0, *(1.0 + i / 7 for i in range(1, n))], "d"))
                for op in ("multiply", "divide"):
                    if BRIEF and (i + (axis == "rows") + (op == "divide")) % 2:
                        continue
                    self.both("scale", path, "-o", self.out, "--force", "--axis", axis, "--by", self.by, "--op", op,
                              output=self.out)

    def test_empty(self):
        for shape, indptr in (((0, 3), (0,)), ((3, 2), (0, 0, 0, 0))):
            write_npz(self.npz, data=(), indices=(), indptr=indptr, shape=shape)
            self.both("normalize", self.npz, "-o", self.out, "--force", "--log1p", output=self.out)
            self.both("sums", self.npz, "--axis", "rows")
            self.both("sums", self.npz, "--axis", "columns")

    def test_values_that_are_no_counts(self):
        write_npz(self.npz, data=(-1.0, -3.0, 2.0, math.nan, 1.0, 2.0))
        self.both("normalize", self.npz, "-o", self.out, "--force", output=self.out)

    def test_reports(self):
        for command in self.commands():
            report = json.loads(self.good(*command, "--json", "--device", "cuda"))
            self.assertEqual((report["backend"], report["device"]), ("cuda", 0), command)
            self.assertEqual((report["device_name"], report["isa"]), (CUDA[0]["name"], CUDA[0]["isa"]), command)
            self.out.unlink(missing_ok=True)
        report = json.loads(self.good("normalize", self.npz, "-o", self.out, "--json", "--device", "cuda:0"))
        self.assertEqual((report["target_sum"], report["n_empty_cells"]), (4, 1))
        text = self.good("normalize", self.npz, "-o", self.out, "--force", "--device", "cuda")
        self.assertIn(f"cuda:0, {CUDA[0]['name']}, {CUDA[0]['isa']}", text)

    def test_overflow_on_the_device(self):
        write_npz(self.npz, data=[2**62, 2**62, 1, 1, 1, 1], kind="q")
        self.bad("does not fit", "sums", self.npz, "--axis", "rows", "--device", "cuda")
        self.bad("does not fit", "normalize", self.npz, "-o", self.out, "--device", "cuda")

    def test_dry_run(self):
        self.assertIn("device: cuda:0, ", self.good("normalize", self.npz, "-o", self.out, "--dry-run", "--device", "cuda"))


@NEEDS_DEVICE
class Auto(Case):
    def setUp(self):
        super().setUp()
        self.npz = self.dir / "counts.mtx"  # the same matrix, which is worked on as a whole
        self.npz.write_text(MTX)

    def report(self, rates, *command):
        return json.loads(self.good(*command, "--json", "--force", env={**os.environ, "CSRNORM_RATES": rates}))

    def test_the_faster_one(self):
        """Every command that computes, by rates that are given; the same files from both."""
        for command in self.commands():
            if command[0] == "check":
                continue
            written, results = "-o" in command, []
            for rates, backend in ((DEVICE_WINS, "cuda"), (CPU_WINS, "cpu")):
                report = self.report(rates, *command)
                self.assertEqual(report["backend"], backend, command)
                auto = report["auto"]
                self.assertEqual(auto["device_seconds"] < auto["cpu_seconds"], backend == "cuda")
                self.assertRegex(auto["reason"], r"^expected .+ s on the CPU, .+ s through cuda:0$")
                results.append(digest(self.out) if written else report["sums"])
            self.assertEqual(results[0], results[1], command)

    def test_what_is_counted(self):
        """Six values of four bytes, and as many indices; with a link of 24 bytes a second up, and nothing else that
        costs, each journey of either is a second. The matrix stays on the device, so that none travels twice."""
        rates = "24,1e30,1e30,1e30,1e30,12,0"
        ways = {(): 1, ("--target-sum", "7"): 1, ("--exclude-highly-expressed",): 2}
        for way, seconds in ways.items():
            auto = self.report(rates, "normalize", self.npz, "-o", self.out, *way)["auto"]
            self.assertAlmostEqual(auto["device_seconds"], seconds, 9, way)
            self.assertAlmostEqual(auto["cpu_seconds"], 2, 9)
        for axis, seconds in (("rows", 1), ("columns", 2)):
            auto = self.report(rates, "sums", self.npz, "--axis", axis)["auto"]
            self.assertAlmostEqual(auto["device_seconds"], seconds, 9, axis)

    def test_said_to_people(self):
        environment = {**os.environ, "CSRNORM_RATES": DEVICE_WINS}
        text = self.good("normalize", self.npz, "-o", self.out, "--force", env=environment)
        self.assertRegex(text, r"\(cuda:0, .+; expected .+ s on the CPU, .+ s through cuda:0\)")


@NEEDS_DEVICE
class Pieces(Case):
    """Files that go through memory in pieces, on which the device computes."""

    def setUp(self):
        super().setUp()
        self.sim, self.out = self.dir / "sim.h5ad", self.dir / "out.h5ad"
        self.good("simulate", "-o", self.sim, "--cells", "300", "--genes", "2000", "--compression", "gzip")

    def report(self, *command, device="cuda", **options):
        return json.loads(self.good(*command, "--force", "--json", "--device", device, **options))

    def test_same_files(self):
        """As the CPU makes them, whatever the memory and the number of threads; and as in memory."""
        flat = self.dir / "flat.mtx"
        for way in (("--log1p",), ("--target-sum", "1e4"), ("--exclude-highly-expressed", "--max-fraction", "0.02"), ("--log-base", "2")):
            files = set()
            for options in (("--device", "cpu"), ("--device", "cuda"), ("--device", "cuda", "--memory", "40M", "--threads", "3"),
                            ("--device", "cuda", "--threads", "1")):
                self.good("normalize", self.sim, "-o", self.out, "--force", "--compression", "none", *way, *options)
                files.add(digest(self.out))
            self.assertEqual(len(files), 1)
            self.good("normalize", self.sim, "-o", flat, "--force", *way, "--device", "cuda")
            self.good("scale", self.out, "-o", self.dir / "pieces.mtx", "--force", "--axis", "rows", "--op", "multiply", "--by",
                      self.ones(300))
            self.assertEqual(digest(flat), digest(self.dir / "pieces.mtx"))

    def ones(self, n):
        self.by.write_bytes(npy([1.0] * n, "d"))
        return self.by

    def test_reports(self):
        """Who does what: files are the CPU's, and so are the marks of genes; sums of columns where values are no counts."""
        normalize, counts = ("normalize", self.sim, "-o", self.out), ["totals", "values"]
        for command, device_does, cpu_does in (
                (normalize, counts, ["files"]), ((*normalize, "--exclude-highly-expressed"), counts, ["files", "marks"]),
                (("sums", self.sim, "--axis", "rows"), ["totals"], ["files"]),
                (("sums", self.sim, "--axis", "columns"), ["totals"], ["files"]),
                (("scale", self.sim, "-o", self.out, "--axis", "rows", "--by", self.ones(300), "--op", "divide"), ["values"], ["files"])):
            report = self.report(*command)
            self.assertEqual([report[k] for k in ("backend", "device", "device_name", "isa", "device_does", "cpu_does")],
                             ["cuda", 0, CUDA[0]["name"], CUDA[0]["isa"], device_does, cpu_does], command)
            self.assertNotIn("device_does", self.report(*command, device="cpu"))
        text = self.good(*normalize, "--force", "--device", "cuda", "--threads", "2")
        self.assertRegex(text, r"\(cuda:0, .+, sm_\d+: totals, values; .+, 2 threads: files\)")
        self.assertTrue(self.report(*normalize)["in_pieces"])
        # The normalized values are no counts.
        done = self.run_program("sums", self.out, "--axis", "columns", "--device", "cuda")
        self.assertRegex(done.stderr, "^csrnorm sums: .*out.h5ad: summed by the CPU: ")
        self.assertEqual(done.stdout, self.good("sums", self.out, "--axis", "columns", "--device", "cpu"))
        report = self.report("sums", self.out, "--axis", "columns", "--quiet")
        self.assertEqual([report[k] for k in ("backend", "device_does", "cpu_does")], ["cpu", [], ["files", "totals"]])

    def test_plan(self):
        cpu, cuda = (json.loads(self.good("normalize", self.sim, "--dry-run", "--json", "--exclude-highly-expressed", "--device", d))
                     for d in ("cpu", "cuda"))
        self.assertEqual((cuda["in_pieces"], cuda["device_does"], cuda["cpu_does"]), (True, ["totals", "values"], ["files", "marks"]))
        self.assertEqual(cuda["workers"], cpu["workers"] + 1)  # one of them waits for the device
        self.assertGreater(cuda["memory_bytes"], cpu["memory_bytes"] + (8 << 20))  # pinned
        self.assertRegex(self.good("normalize", self.sim, "--dry-run", "--device", "cuda"),
                         r"(?m)^device: cuda:0, .+: totals, values; .+ threads: files$")

    def test_limits(self):
        self.bad("more than the 1000 of --memory", "normalize", self.sim, "-o", self.out, "--memory", "1000", "--device", "cuda")
        self.bad("more than the 1000 of --memory", "sums", self.sim, "--axis", "rows", "--memory", "1000", "--device", "cuda")

    def peak(self, *command):
        """MB of resident memory."""
        process = subprocess.Popen([PROGRAM, *map(str, command)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        return usage.ru_maxrss / 1024

    @unittest.skipIf(os.environ.get("ASAN_OPTIONS"), "a sanitizer needs more")
    def test_memory(self):
        """It does not grow with the matrix, in memory or, on the stand-in, as the device's."""
        large, memory = self.dir / "large.h5ad", ("--memory", "40M", "--threads", "1", "--device", "cuda")
        self.good("simulate", "-o", large, "--cells", "1500", "--genes", "20000", "--compression", "gzip")
        values = json.loads(self.good("normalize", large, "--dry-run", "--json"))["nnz"]
        self.assertGreater(values, 3 << 19)
        small = self.peak("normalize", self.sim, "-o", self.out, *memory)
        peak = self.peak("normalize", large, "-o", self.out, "--force", *memory)
        whole = self.peak("normalize", large, "-o", self.dir / "whole.npz", "--device", "cuda")
        self.assertLess(peak - small, 16)
        self.assertGreater(whole - small, 32)

    @unittest.skipUnless("cuda_host" in PROGRAM, "not the program with the stand-in for CUDA")
    def test_failures(self):
        """Of any allocation, pinned or on the device, and of kernels: one sentence, no output, nothing left."""
        before = sorted(self.dir.iterdir())
        command = ("normalize", self.sim, "-o", self.out, "--log1p", "--threads", "2", "--device", "cuda")

        def fails(**environment):
            done = self.run_program(*command, env={**os.environ, **environment})
            if done.returncode == 0:
                self.out.unlink()
                return False
            self.assertEqual((done.returncode, done.stderr.count("\n"), done.stdout), (1, 1, ""), done.stderr)
            self.assertEqual(sorted(self.dir.iterdir()), before)
            return True
        allocations = next(n for n in range(1000) if not fails(CSRN_SIMT_FAIL_ALLOCATION=str(n)))
        self.assertGreater(allocations, 20)
        launches = next(n for n in range(1000) if not fails(CSRN_SIMT_FAIL_LAUNCH=str(n)))
        self.assertGreater(launches, 10)
        self.assertTrue(fails(CSRN_SIMT_MEMORY_MIB="1"))
        self.assertFalse(fails(CSRN_SIMT_STREAMS="late"))
        self.assertFalse(fails(CSRN_SIMT_STREAMS="varied"))


@NEEDS_DEVICE
class Bench(Case):
    def rows(self, *options):
        return json.loads(self.good("bench", "--cells", "300", "--genes", "900", "--nnz", "30000", "--repetitions", "1",
                                    "--min-time", "0", "--json", *options))

    def test_a_device_beside_the_cpu(self):
        report = self.rows("--device", "cpu,cuda")
        self.assertIn(CUDA[0]["name"], report["environment"]["devices"])
        cpu, cuda = ({r["operation"]: r for r in report["results"] if r["device"] == d} for d in ("cpu", "cuda"))
        only_cpu = {"roofline_scale", "roofline_sum", "log1p_reals_cached", "normalize_fixed_log1p_cached"}
        links = {"link_up": 4, "link_down": 4, "link_both": 8}
        hosted = {f"{arrays}_normalize_{target}_log1p" for arrays in ("pinned", "pageable") for target in ("fixed", "median")}
        hosted.add("pinned_normalize_fixed")
        self.assertEqual(set(cuda), set(cpu) - only_cpu | {"roofline_copy"} | set(links) | hosted)
        for name, row in cuda.items():
            self.assertEqual((row["check"], row["isa"]), ("ok", CUDA[0]["isa"]), row)
            self.assertGreater(row["min_ms"], 0)
            self.assertEqual(row["reference"], "" if name in ("median", "roofline_copy", *links) else
                             "link_both" if name in hosted else "roofline_copy")
            if name in hosted:
                self.assertEqual(row["bytes_per_value"], 8)
            if name in cpu:
                self.assertEqual(row["bytes"], cpu[name]["bytes"])
        self.assertEqual(cuda["roofline_copy"]["bytes_per_value"], 8)
        self.assertEqual({name: cuda[name]["bytes_per_value"] for name in links}, links)
        number = r"(?:from|not up to) [0-9.e+]+ values"
        self.assertRegex(report["environment"]["device_wins"], rf"^normalize_fixed_log1p: pinned {number}, pageable {number}; "
                                                               rf"normalize_median_log1p: pinned {number}, pageable {number}$")

    def test_types(self):
        for kind in ("float64", "uint8", "int64"):
            self.assertEqual({row["check"] for row in self.rows("--device", "cuda", "--type", kind)["results"]}, {"ok"})
        rows = self.rows("--device", "cuda", "--values", "reals")["results"]
        self.assertEqual({row["check"] for row in rows}, {"ok"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
