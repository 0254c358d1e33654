"""The program on a full disk and ended by signals: nothing lost, nothing half.

Usage: test_faults.py CSRNORM. Needs the standard library alone. From each format to each, in new places, over other
files and over the input: a disk full at every tenth of the result ends in exit code 1 and one sentence; a signal at
any moment (a fixed seed) ends the program by that signal. The input is as it was, or the whole result where it is the
output, too; under the output's name there is what was there before, or the whole result; and nothing else is left,
but for a hidden file after SIGKILL.
"""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = ""

# Input, output, and whether there is a file under the output's name. The result of each is the same in every run.
SCENARIOS = (
    ("sim.h5ad", "o.h5ad", False),
    ("sim.h5ad", "sim.h5ad", True),
    ("sim.h5ad", "o.mtx", True),
    ("sim.mtx", "o.h5ad", True),
    ("sim.mtx.gz", "o.npz", False),
    ("sim.npz", "sim.npz", True),
    ("sim.npz", "o.mtx.gz", True),
)


if os.environ.get("ASAN_OPTIONS"):  # where each run takes ten times as long
    SCENARIOS = SCENARIOS[::2]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Faults(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def snapshot(self):
        return {p.name: digest(p) for p in self.dir.iterdir()}

    def prepare(self, scenario, cells):
        """The command, the folder before and after, the bytes that were under the output's name."""
        source, out, exists = scenario
        for p in self.dir.iterdir():
            p.unlink()
        def compression(name, how):
            return [] if ".mtx" in name else ["--compression", how]

        subprocess.run([PROGRAM, "simulate", "-o", self.dir / source, "--cells", str(cells), "--genes", "2000",
                        *compression(source, "gzip"), "-q"], check=True)
        out = self.dir / out
        if exists and not out.exists():
            out.write_bytes(b"what was there before")
        old = out.read_bytes() if exists else None
        command = [PROGRAM, "normalize", self.dir / source, "-o", out, *compression(out.name, "none"), "-q",
                   *["--force"] * exists]
        before = self.snapshot()
        subprocess.run(command, check=True)
        after, size = self.snapshot(), out.stat().st_size
        self.assertNotEqual(before, after)
        self.restore(out, old)
        self.assertEqual(before, self.snapshot())
        return command, before, after, size, out, old

    def restore(self, out, old):
        if old is None:
            out.unlink(missing_ok=True)
        else:
            out.write_bytes(old)

    def test_disk_full_at_every_tenth(self):
        for scenario in SCENARIOS:
            command, before, _, size, _, _ = self.prepare(scenario, 60)
            for tenth in range(10):
                room = max(size * tenth // 10, 1024)  # clang's OpenMP has that much in a file of its own

                def limit():
                    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

                with self.subTest(scenario=scenario, tenth=tenth):
                    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertRegex(done.stderr, r"^csrnorm normalize: \S*: cannot be written: .*File too large\n$")
                    self.assertEqual(self.snapshot(), before)

    def test_signals_at_any_moment(self):
        moments = random.Random(7)
        for scenario in SCENARIOS:
            command, before, after, _, out, old = self.prepare(scenario, 500)
            begin = time.monotonic()
            subprocess.run(command, check=True)
            took = time.monotonic() - begin
            self.restore(out, old)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL) * 2:
                process = subprocess.Popen(command)
                time.sleep(moments.uniform(0.2, 1.0) * took)
                process.send_signal(number)
                code = process.wait(60)
                found = self.snapshot()
                with self.subTest(scenario=scenario, number=number):
                    self.assertIn(code, (0, -number))
                    hidden = {name for name in found if name.startswith("." + out.name + ".")}
                    self.assertTrue(number == signal.SIGKILL or not hidden, hidden)
                    for name in hidden:
                        (self.dir / name).unlink()
                        del found[name]
                    self.assertIn(found, (before, after))
                    self.assertTrue(code or found == after)
                self.restore(out, old)


if __name__ == "__main__":
    PROGRAM = os.path.realpath(sys.argv.pop(1))
    unittest.main(verbosity=2)
