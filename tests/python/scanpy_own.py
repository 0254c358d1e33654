"""Runs scanpy's own tests of what csrnorm replaces, as they come and with csrnorm in scanpy, and compares.

Usage: scanpy_own.py FOLDER, the unpacked source distribution of scanpy 1.11.5, for example from
    pip download --no-binary :all: --no-deps scanpy==1.11.5
A test that passes as it comes and does not pass with csrnorm is a failure, but for EXCEPTIONS. Some fail as they come,
with versions of other packages that are newer than scanpy's; they count for nothing. Exit code 77: there is nothing
to run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).parent
#: Files, and the tests of them that are about the functions which csrnorm replaces (or that use them).
TESTS = ["tests/test_normalization.py", "tests/test_preprocessing.py", "tests/test_preprocessing_distributed.py",
         "tests/test_utils.py", "tests/test_qc_metrics.py", "tests/test_scaling.py"]  # fmt: skip
CHOSEN = "normal or log1p or axis or scale or qc or proportions or total or sum or recipe or divide"

#: What is allowed not to pass with csrnorm: how the test's name begins, and why. Now there is nothing.
EXCEPTIONS: dict[str, str] = {}


def exception_of(name: str) -> str | None:
    """Return the reason why the test `name` is not expected to pass, or None."""
    return next((reason for start, reason in EXCEPTIONS.items() if name.startswith(start)), None)


def outcomes(folder: Path, accelerated: bool) -> dict[str, str]:
    """Run the tests; return "passed", "failed" or "skipped" for each."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory() as work:
        report = Path(work) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={work}/cache", f"--junitxml={report}",
                   "-k", CHOSEN, *(["-p", "accelerated"] if accelerated else []),
                   *(name for name in TESTS if (folder / name).exists())]  # fmt: skip
        output = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout
        if not report.exists():
            sys.exit(f"scanpy's tests did not run:\n{output[-3000:]}")
        found = {}
        for case in ET.parse(report).iter("testcase"):
            kinds = {child.tag for child in case}
            name = f"{case.get('classname')}.{case.get('name')}"
            found[name] = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        return found


def main() -> int:
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "tests/test_normalization.py").exists():
        print("skipped: needs the source distribution of scanpy 1.11.5")
        return 77
    folder = Path(sys.argv[1])
    plain, fast = outcomes(folder, False), outcomes(folder, True)
    for label, found in (("as they come", plain), ("with csrnorm", fast)):
        print(f"{label}: " + ", ".join(f"{sum(v == k for v in found.values())} {k}" for k in ("passed", "failed", "skipped")))
    lost = sorted(name for name, outcome in plain.items() if outcome == "passed" and fast.get(name) != "passed")
    for name in lost:
        print(f"passes as it comes, not with csrnorm: {name} ({exception_of(name) or 'NOT EXPECTED'})")
    if sum(v == "passed" for v in plain.values()) < 50:
        print("too few pass as they come for a comparison")
        return 1
    return 1 if any(exception_of(name) is None for name in lost) else 0


if __name__ == "__main__":
    sys.exit(main())
