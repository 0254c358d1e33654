"""The command line against scanpy, value by value.

Usage: test_scanpy.py CSRNORM. Needs scanpy and CSRNORM_TEST_DATA; exits with 77 (skipped)
without them. scanpy's own median over all cells is replaced by the median over the cells with a
positive total, which later versions of scanpy take.
"""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import anndata
    import h5py
    import numpy as np
    import scanpy as sc
    import scipy.sparse as sp
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

DATA = Path(os.environ.get("CSRNORM_TEST_DATA", "/nonexistent"))
if not (DATA / "pbmc_facs.h5ad").exists():
    print("skipped: CSRNORM_TEST_DATA is not set")
    sys.exit(77)

PROGRAM = ""
TARGETS = {"median": None, "10000": 1e4, "1234.56": 1234.56}


def run(*arguments):
    subprocess.run([PROGRAM, *map(str, arguments)], check=True, capture_output=True, text=True)


def normalized(adata, target, exclude=False):
    """scanpy's normalize_total with the median over the positive totals."""
    adata = adata.copy()
    if target is None:
        counts = np.asarray(adata.X.sum(axis=1, dtype=np.float64)).ravel()
        if exclude:
            X = sp.csr_matrix(adata.X)
            share = X.copy().astype(np.float64)
            limit = np.repeat(counts * 0.05, np.diff(X.indptr))
            excluded = np.unique(X.indices[share.data > limit])
            keep = np.ones(X.shape[1], bool)
            keep[excluded] = False
            counts = np.asarray(X[:, keep].sum(axis=1, dtype=np.float64)).ravel()
        target = np.median(counts[counts > 0])
    sc.pp.normalize_total(adata, target_sum=float(target), exclude_highly_expressed=exclude, key_added="nf")
    return adata


def ulps(a, b):
    """Distance of two arrays of positive floats in units in the last place."""
    kind = np.int32 if a.dtype == np.float32 else np.int64
    return np.abs(a.view(kind).astype(np.int64) - b.view(kind).astype(np.int64))


def bits(array):
    return np.ascontiguousarray(array).view(np.uint8)


class Scanpy(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = Path(self.folder.name) / "out.h5ad"

    def tearDown(self):
        self.folder.cleanup()

    def result(self, name, *arguments):
        run("normalize", DATA / name, "-o", self.out, "--force", *arguments)
        return anndata.read_h5ad(self.out)

    def same_tree(self, name, skipped):
        """Everything but the objects named is what it was."""
        with h5py.File(DATA / name) as before, h5py.File(self.out) as after:
            names = set()
            before.visit(names.add)
            for key in names:
                if any(key == s or key.startswith(s + "/") for s in skipped):
                    continue
                self.assertIn(key, after)
                a, b = before[key], after[key]
                self.assertEqual(set(a.attrs), set(b.attrs), key)
                if isinstance(a, h5py.Dataset):
                    self.assertEqual((a.shape, a.dtype), (b.shape, b.dtype), key)
                    if a.shape is None:
                        continue
                    if a.dtype.hasobject:  # strings, alone or in a table
                        self.assertEqual(a[()].tolist() if a.shape else a[()], b[()].tolist() if b.shape else b[()])
                    else:
                        self.assertTrue(np.array_equal(bits(a[()]), bits(b[()])), key)
            added = set()
            after.visit(added.add)
            extra = {k for k in added - names if not any(k == s or k.startswith(s + "/") for s in skipped)}
            self.assertEqual(extra, set())

    def test_h5ad_targets(self):
        raw = anndata.read_h5ad(DATA / "pbmc_facs.h5ad")
        for name, target in TARGETS.items():
            for exclude in (False, True):
                flags = ["--exclude-highly-expressed"] if exclude else []
                with self.subTest(target=name, exclude=exclude):
                    expected = normalized(raw, target, exclude)
                    got = self.result("pbmc_facs.h5ad", "--target-sum", name, "--key-added", "nf", *flags)
                    self.assertTrue(np.array_equal(bits(expected.X.data), bits(got.X.data)))
                    self.assertTrue(np.array_equal(expected.X.indices, got.X.indices))
                    self.assertTrue(np.array_equal(bits(np.asarray(expected.obs["nf"], np.float32)),
                                                   bits(got.obs["nf"].to_numpy())))
                    self.same_tree("pbmc_facs.h5ad", ["X/data", "obs"])

    def test_h5ad_log1p(self):
        raw = anndata.read_h5ad(DATA / "pbmc_facs.h5ad")
        for name, target in TARGETS.items():
            with self.subTest(target=name):
                expected = np.log1p(normalized(raw, target).X.data.astype(np.float64)).astype(np.float32)
                got = self.result("pbmc_facs.h5ad", "--target-sum", name, "--log1p")
                self.assertLessEqual(ulps(expected, got.X.data).max(), 1)
                self.assertIn("log1p", got.uns)
                self.same_tree("pbmc_facs.h5ad", ["X/data", "uns"])

    def test_log_base(self):
        raw = anndata.read_h5ad(DATA / "pbmc_facs.h5ad")
        natural = self.result("pbmc_facs.h5ad", "--target-sum", "10000", "--log1p").X.data
        got = self.result("pbmc_facs.h5ad", "--target-sum", "10000", "--log-base", "2")
        expected = (natural.astype(np.float64) / np.log(2)).astype(np.float32)
        self.assertTrue(np.array_equal(bits(expected), bits(got.X.data)))
        self.assertEqual(got.uns["log1p"]["base"], 2)
        self.assertEqual(raw.shape, got.shape)

    def test_matrix_market(self):
        raw = anndata.read_h5ad(DATA / "pbmc_facs.h5ad")
        for name, target in TARGETS.items():
            for exclude in (False, True):
                flags = ["--exclude-highly-expressed"] if exclude else []
                with self.subTest(target=name, exclude=exclude):
                    expected = normalized(raw, target, exclude).X.sorted_indices()
                    got = self.result("pbmc_facs.mtx.gz", "--target-sum", name, *flags).X.sorted_indices()
                    self.assertTrue(np.array_equal(expected.indptr, got.indptr))
                    self.assertTrue(np.array_equal(expected.indices, got.indices))
                    self.assertTrue(np.array_equal(bits(expected.data), bits(got.data)))

    def test_other_files(self):
        """Every other h5ad of the test data: X as scanpy has it, the rest unchanged."""
        for name in ("brainlarge_csr.h5ad", "pbmc_5k_protein_dense_lzf.h5ad", "anndata_v0.7.0.h5ad",
                     "anndata_v0.7.8.h5ad", "pancreas_layers.h5ad"):
            with self.subTest(name=name):
                raw = anndata.read_h5ad(DATA / name)
                expected = normalized(raw, None).X
                got = self.result(name).X
                if sp.issparse(expected):
                    expected, got = expected.data, got.data
                self.assertTrue(np.array_equal(bits(expected), bits(got)))
                self.same_tree(name, ["X"])

    def test_layer(self):
        raw = anndata.read_h5ad(DATA / "pancreas_layers.h5ad")
        expected = raw.copy()
        expected.X = expected.layers["unspliced"]
        expected = normalized(expected, 1e4).X
        got = self.result("pancreas_layers.h5ad", "--layer", "unspliced", "--target-sum", "1e4")
        self.assertTrue(np.array_equal(bits(expected.data), bits(got.layers["unspliced"].data)))
        self.same_tree("pancreas_layers.h5ad", ["layers/unspliced/data"])

    def test_tenx(self):
        for name, flags in (("tenx_v3.h5", []), ("tenx_visium_probe_i64.h5", []), ("tenx_visium_subset.h5", []),
                            ("tenx_v2_two_genomes.h5", ["--genome", "hg19_chr21"])):
            with self.subTest(name=name):
                raw = sc.read_10x_h5(DATA / name, genome=flags[-1] if flags else None)
                expected = normalized(raw, None)
                got = self.result(name, *flags)
                self.assertEqual(list(expected.obs_names), list(got.obs_names))
                self.assertEqual(list(expected.var_names), list(got.var_names))
                a, b = expected.X.sorted_indices(), got.X.sorted_indices()
                self.assertTrue(np.array_equal(a.indices, b.indices))
                self.assertTrue(np.array_equal(bits(a.data), bits(b.data)))

    def test_csc(self):
        raw = anndata.read_h5ad(DATA / "pbmc_facs.h5ad")
        source = Path(self.folder.name) / "csc.h5ad"
        csc = raw.copy()
        csc.X = sp.csc_matrix(csc.X)
        csc.write_h5ad(source)
        for exclude in (False, True):
            flags = ["--exclude-highly-expressed"] if exclude else []
            expected = sp.csr_matrix(normalized(raw, None, exclude).X).sorted_indices()
            run("normalize", source, "-o", self.out, "--force", *flags)
            got = anndata.read_h5ad(self.out).X
            self.assertEqual(got.format, "csc")
            got = sp.csr_matrix(got).sorted_indices()
            self.assertTrue(np.array_equal(bits(expected.data), bits(got.data)))


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
