"""Runs pytest for CTest: run.py PACKAGE,... ARGUMENT... Exit code 77 where a package is missing, or all is skipped."""

import importlib.util
import os
import sys


class Count:
    """Whether any test ran to its end."""

    ran = False

    def pytest_runtest_logreport(self, report):
        self.ran |= report.when == "call" and not report.skipped


def main() -> int:
    missing = [name for name in sys.argv[1].split(",") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {sys.executable} has no {', '.join(missing)}")
        return 77
    import pytest

    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    count = Count()
    status = pytest.main(["-q", "-rs", "-p", "no:cacheprovider", *sys.argv[2:]], plugins=[count])
    return 77 if status == 0 and not count.ran else status


# The worker processes of Dask import this file again, under another name.
if __name__ == "__main__":
    sys.exit(main())
