"""The file library against scipy's readers and writers: what scipy wrote is read, and what csrnorm wrote scipy
reads, to the bit. Usage: test_io_scipy.py IO_COPY. Exit code 77 without scipy: skipped. With CSRNORM_TEST_BRIEF=1 each
type comes in one order of bytes, layout and compression, in turn."""

import gzip
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
    import scipy.io
    import scipy.sparse as sp
except ImportError:
    print("skipped: this Python has no scipy")
    sys.exit(77)

IO_COPY = ""
BRIEF = os.environ.get("CSRNORM_TEST_BRIEF") == "1"
# dtype in the file -> dtype that comes out
TYPES = {"?": "u1", "i1": "i4", "u1": "u1", "i2": "i4", "u2": "u2", "i4": "i4", "u4": "u4", "i8": "i8", "u8": "i8",
         "f2": "f4", "f4": "f4", "f8": "f8"}


def random_matrix(dtype, shape=(60, 40), seed=0):
    """Unsorted indices, empty rows, explicit zeros; reals of every magnitude."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    counts = rng.integers(0, 9, shape[0]) * (rng.random(shape[0]) < 0.8)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.concatenate([rng.permutation(shape[1])[:n] for n in counts] + [[]]).astype(np.int32)
    n = indptr[-1]
    if dtype.kind == "f":
        data = (rng.standard_normal(n) * 10.0 ** rng.integers(-4, 4, n)).astype(dtype)
    elif dtype.kind == "b":
        data = rng.random(n) < 0.7
    else:
        high = min(np.iinfo(dtype).max, 2**62)
        data = rng.integers(max(np.iinfo(dtype).min, -(2**62)), high, n).astype(dtype)
    data[::7] = 0
    return sp.csr_matrix((data, indices, indptr), shape=shape)


class Files(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def copy(self, source, target, *options):
        run = subprocess.run([IO_COPY, *options, source, target], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        return target

    def same(self, a, b, dtype=None):
        """The arrays themselves, in their order."""
        self.assertEqual((a.format, a.shape), (b.format, b.shape))
        self.assertEqual(b.dtype, np.dtype(dtype or a.dtype))
        np.testing.assert_array_equal(a.indptr, b.indptr)
        np.testing.assert_array_equal(a.indices, b.indices)
        self.assertEqual(a.data.astype(b.dtype).tobytes(), b.data.tobytes())

    def test_npz(self):
        for i, (name, out) in enumerate(TYPES.items()):
            for order in "<>":
                for layout in ("csr", "csc"):
                    for compressed in (True, False):
                        if BRIEF and (order == "<", layout == "csr", compressed) != (i & 1 == 0, i & 2 == 0, i & 4 == 0):
                            continue
                        with self.subTest(name=name, order=order, layout=layout, compressed=compressed):
                            m = random_matrix(name)
                            if layout == "csc":
                                m = sp.csc_matrix((m.data, m.indices, m.indptr), shape=m.shape[::-1])
                            m.data = m.data.astype(np.dtype(name).newbyteorder(order))
                            sp.save_npz(self.dir / "a.npz", m, compressed=compressed)
                            back = sp.load_npz(self.copy(self.dir / "a.npz", self.dir / "b.npz"))
                            self.same(m, back, out)

    def test_npz_cells_in_columns(self):
        for make in (sp.csr_matrix, sp.csc_matrix):
            m = make(random_matrix("f4"))
            sp.save_npz(self.dir / "a.npz", m)
            self.same(m, sp.load_npz(self.copy(self.dir / "a.npz", self.dir / "b.npz", "--cells", "columns")))

    def test_npz_is_kept(self):
        """What scipy stored or deflated comes out so, and --compression changes it."""
        import zipfile
        m = random_matrix("f4")
        for compressed in (True, False):
            sp.save_npz(self.dir / "a.npz", m, compressed=compressed)
            for options, expected in (((), compressed), (("--compression", "none"), False),
                                      (("--compression", "gzip"), True)):
                out = self.copy(self.dir / "a.npz", self.dir / "b.npz", *options)
                with zipfile.ZipFile(out) as archive:
                    self.assertIsNone(archive.testzip())
                    for entry in archive.infolist():
                        self.assertEqual(entry.compress_type != zipfile.ZIP_STORED, expected)

    def test_other_sparse_formats(self):
        for make in (sp.coo_matrix, sp.bsr_matrix, sp.dia_matrix):
            m = make(random_matrix("f4"))
            sp.save_npz(self.dir / "a.npz", m)
            run = subprocess.run([IO_COPY, self.dir / "a.npz", self.dir / "b.npz"], capture_output=True, text=True)
            self.assertEqual(run.returncode, 1)
            self.assertIn(f'"{m.format}"', run.stderr)
            self.assertFalse((self.dir / "b.npz").exists())

    def test_mtx_from_scipy(self):
        for name in ("i4", "i8", "u4", "f4", "f8"):
            for suffix in (".mtx", ".mtx.gz"):
                with self.subTest(name=name, suffix=suffix):
                    m = random_matrix(name)
                    path = self.dir / ("a" + suffix)
                    with (gzip.open if suffix.endswith("gz") else open)(path, "wb") as f:
                        scipy.io.mmwrite(f, m.T.tocoo())
                    back = sp.load_npz(self.copy(path, self.dir / "b.npz"))
                    if name == "f4":  # shortest decimals of float32, unmarked, are read as float64
                        self.assertEqual(back.dtype, np.float64)
                        back = back.astype(np.float32)
                    self.same(m.sorted_indices(), back.sorted_indices(), {"u4": "i8"}.get(name, name))

    def test_mtx_to_scipy(self):
        for name in ("u1", "u2", "i4", "u4", "i8", "f4", "f8"):
            for suffix in (".mtx", ".mtx.gz"):
                with self.subTest(name=name, suffix=suffix):
                    m = random_matrix(name)
                    sp.save_npz(self.dir / "a.npz", m)
                    out = self.copy(self.dir / "a.npz", self.dir / ("b" + suffix))
                    back = scipy.io.mmread(out).T.tocsr()
                    self.same(m.sorted_indices(), back.sorted_indices().astype(m.dtype))
                    again = sp.load_npz(self.copy(out, self.dir / "c.npz"))  # the order of the entries too
                    self.same(m, again, {"u1": "i4", "u2": "i4", "u4": "i8"}.get(name, name))

    def test_names_become_those_of_an_h5ad(self):
        try:
            import h5py
        except ImportError:
            self.skipTest("no h5py")
        (self.dir / "x_matrix.mtx").write_text("%%MatrixMarket matrix coordinate integer general\n3 2 1\n3 2 7\n")
        (self.dir / "x_barcodes.tsv").write_text("AAAC-1\nAAAG-1\n")
        (self.dir / "x_features.tsv").write_text("E1\tA\tGene Expression\nE2\tB\tGene Expression\nC\tD\tAntibody\n")
        with h5py.File(self.copy(self.dir / "x_matrix.mtx", self.dir / "a.h5ad")) as f:
            def column(group, name):
                return [v.decode() for v in f[group][name][:]]
            self.assertEqual(column("obs", f["obs"].attrs["_index"]), ["AAAC-1", "AAAG-1"])
            self.assertEqual(column("var", f["var"].attrs["_index"]), ["A", "B", "D"])
            self.assertEqual(column("var", "gene_ids"), ["E1", "E2", "C"])
            self.assertEqual(f["X"].attrs["shape"].tolist(), [2, 3])
            self.assertEqual((f["X/data"][:].tolist(), f["X/indices"][:].tolist(), f["X/indptr"][:].tolist()),
                             ([7], [2], [0, 0, 1]))

    def test_the_mark_of_utf8_is_no_part_of_a_name(self):
        try:
            import h5py
        except ImportError:
            self.skipTest("no h5py")
        (self.dir / "y.v2.mtx").write_text("%%MatrixMarket matrix coordinate integer general\n2 1 1\n2 1 7\n")
        (self.dir / "y.v2_features.tsv").write_bytes(b"\xef\xbb\xbf" + "Ä\nB\n".encode())
        (self.dir / "y_features.tsv").write_text("of\nanother\n")
        with h5py.File(self.copy(self.dir / "y.v2.mtx", self.dir / "a.h5ad")) as f:
            self.assertEqual(f["var"][f["var"].attrs["_index"]].asstr()[:].tolist(), ["Ä", "B"])

    def test_uint64_becomes_int64_in_h5ad(self):
        """scipy can do nothing with a matrix whose indices are uint64."""
        try:
            import h5py
        except ImportError:
            self.skipTest("no h5py")
        m = sp.random(20, 30, density=0.2, format="csr", dtype=np.float32, random_state=5)
        for indices, indptr in (("u8", "i4"), ("i4", "u8"), ("u8", "u8"), ("u8", "u1"), ("u4", "u2")):
            m.indices, m.indptr = m.indices.astype(indices), m.indptr.astype(indptr)
            sp.save_npz(self.dir / "u.npz", m)
            with h5py.File(self.copy(self.dir / "u.npz", self.dir / "u.h5ad")) as f:
                x = f["X"]
                self.assertEqual((x["indices"].dtype, x["indptr"].dtype),
                                 (np.dtype(indices.replace("u8", "i8")), np.dtype(indptr.replace("u8", "i8"))))
                back = sp.csr_matrix((x["data"][:], x["indices"][:], x["indptr"][:]), shape=m.shape)
            np.testing.assert_array_equal(back.toarray(), m.astype(np.float32).toarray() if "u8" not in (indices, indptr)
                                          else sp.csr_matrix((m.data, m.indices.astype("i8"), m.indptr.astype("i8")),
                                                             shape=m.shape).toarray())
            (self.dir / "u.h5ad").unlink()

    def test_real_files(self):
        data = os.environ.get("CSRNORM_TEST_DATA")
        if not data:
            self.skipTest("CSRNORM_TEST_DATA is not set")
        for name in ("pbmc_facs.mtx.gz", "tenx_v3.mtx.gz"):
            with self.subTest(name=name):
                expected = scipy.io.mmread(pathlib.Path(data) / name).T.tocsr()
                got = sp.load_npz(self.copy(pathlib.Path(data) / name, self.dir / "a.npz", "--compression", "none"))
                self.same(expected.sorted_indices(), got.sorted_indices(), "i4")
                halves = got.astype(np.float32)
                halves.data /= 3
                sp.save_npz(self.dir / "h.npz", halves, compressed=False)
                text = self.copy(self.dir / "h.npz", self.dir / "h.mtx")
                self.same(halves, sp.load_npz(self.copy(text, self.dir / "again.npz", "--compression", "none")))


if __name__ == "__main__":
    IO_COPY = sys.argv.pop(1)
    unittest.main()
