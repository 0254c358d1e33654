"""The examples of docs/python.md and docs/dask.md, run as they stand there."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from conftest import bits, simulated

import csrnorm

anndata = pytest.importorskip("anndata")
DOCS = Path(__file__).parents[2] / "docs"


def example(name):
    """The first piece of Python in a document."""
    return re.search(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL).group(1)


def test_quick_tour():
    sc = pytest.importorskip("scanpy")
    before = sc.pp.log1p
    adata = anndata.AnnData(simulated(20, 30))
    names = {"adata": adata}
    exec(example("python.md"), names)
    expected = csrnorm.normalize(simulated(20, 30), 1e4, log1p=True).x
    assert np.array_equal(bits(names["raw"].X), bits(csrnorm.normalize(expected.copy(), "mean").x))
    assert np.array_equal(bits(adata.X), bits(csrnorm.normalize(expected, log1p=True).x))
    assert sc.pp.log1p is before


def test_dask(tmp_path):
    for package in ("distributed", "h5py", "anndata.experimental"):
        pytest.importorskip(package)
    anndata.AnnData(simulated(200, 300)).write_h5ad(tmp_path / "large.h5ad")
    script = "if __name__ == '__main__':\n" + textwrap.indent(example("dask.md"), "    ")
    (tmp_path / "example.py").write_text(script)
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = anndata.read_h5ad(tmp_path / "normalized.h5ad")
    assert np.array_equal(bits(found.X), bits(csrnorm.normalize(simulated(200, 300), log1p=True).x))
    assert found.uns["log1p"] == {"base": None} or "base" not in found.uns["log1p"]
