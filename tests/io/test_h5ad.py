"""Files of anndata and h5py through csrnorm and back: only the values change.

Usage: test_h5ad.py CSRNORM. Needs anndata and h5py; exits with 77 without them. Each file is multiplied by one
(every object is as before, values too) and normalized with factors and logarithm (obs gains a column, uns a record),
and opened by anndata again. The files are those of CSRNORM_TEST_DATA, where it is set, and some that are written
here with what the former lack: lzf and gzip, csc, integers, categories, missing values, nested dictionaries; of these
CSRNORM_TEST_BRIEF=1 leaves every pair of compression, type and layout, but not every three.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

try:
    import anndata
    import h5py
    import numpy as np
    import pandas as pd
    import scipy.sparse as sp
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
try:
    import scanpy
except ImportError:
    scanpy = None
try:
    import hdf5plugin
except ImportError:
    hdf5plugin = None

warnings.simplefilter("ignore")
PROGRAM = ""
DATA = os.environ.get("CSRNORM_TEST_DATA")
BRIEF = os.environ.get("CSRNORM_TEST_BRIEF") == "1"


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{arguments}: exit code {done.returncode}: {done.stderr}")


def plain(value, file):
    """A value that compares by content: references by the name of what they refer to."""
    if isinstance(value, h5py.Empty):
        return "empty", str(value.dtype)
    if isinstance(value, h5py.Reference):
        return file[value].name if value else None
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return value.shape, [plain(v, file) if not isinstance(v, np.void) else v.tolist() for v in value.ravel()]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.shape, str(value.dtype), value.tobytes()
    return value


def storage(dataset):
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    return dataset.dtype, dataset.shape, dataset.maxshape, dataset.chunks, filters


def snapshot(path):
    """Every object of a file: its kind, attributes, storage and content."""
    found = {}
    with h5py.File(path) as file:

        def visit(name, item):
            attributes = {key: plain(value, file) for key, value in item.attrs.items()}
            if isinstance(item, h5py.Dataset):
                found[name] = ("dataset", attributes, storage(item), plain(item[()], file))
            else:
                found[name] = ("group", attributes, sorted(item), None)

        visit("/", file)
        file.visititems(visit)
    return found


def counts(kind, n=40, m=30):
    return sp.random(n, m, 0.2, "csr", dtype=np.float64, random_state=1).multiply(50).ceil().astype(kind)


def annotated(x):
    """An AnnData with something of everything."""
    n, m = x.shape
    obs = pd.DataFrame({
        "batch": pd.Categorical(["a", "b"] * (n // 2), ["b", "a"], ordered=True),
        "quality": np.linspace(0, 1, n),
        "passed": [True, False] * (n // 2),
        "maybe": pd.array([1, None] * (n // 2), dtype="Int32"),
        "note": [f"cell {i} é" for i in range(n)],
    }, index=[f"cell{i}" for i in range(n)])
    a = anndata.AnnData(x, obs, pd.DataFrame(index=[f"gene{j}" for j in range(m)]))
    a.var["symbol"] = pd.Categorical(["x"] * m)
    a.layers["counts"] = counts("int32")
    a.layers["dense"] = counts("uint16").toarray()
    a.obsm["pca"] = np.arange(n * 3, dtype="float32").reshape(n, 3)
    a.obsm["frame"] = pd.DataFrame({"p": np.arange(n)}, index=obs.index)
    a.obsp["graph"] = sp.eye(n, format="csr")
    a.uns["nested"] = {"name": "text", "numbers": np.arange(4), "deeper": {"flag": True, "x": 1.5}}
    a.raw = a
    return a


class H5ad(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.out = self.path / "out.h5ad"

    def tearDown(self):
        self.folder.cleanup()

    def read(self, path):
        """The AnnData in a file, or None where anndata itself refuses it."""
        try:
            return anndata.read_h5ad(path)
        except Exception:  # noqa: BLE001
            return None

    def nothing_else_differs(self, source, before, *paths):
        """What h5diff says, where it is installed, of what both files have; it does not read lzf."""
        lzf = any(32000 in item[2][-1] for item in before.values() if item[0] == "dataset")
        if shutil.which("h5diff") and not lzf:
            excluded = [word for path in paths for word in ("--exclude-path", "/" + path)]
            done = subprocess.run(["h5diff", "--verbose", *excluded, source, self.out], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def multiplied_by_one(self, source, values, *flags):
        """All of the file is as before; the values of an integer matrix become float32."""
        before = snapshot(source)
        n = before["obs"][2] if before["obs"][0] == "dataset" else None
        rows = n[1][0] if n else len(anndata.read_h5ad(source).obs)
        (self.path / "ones.txt").write_text("1\n" * rows)
        run("scale", source, "-o", self.out, "-a", "rows", "-b", self.path / "ones.txt", "--op", "multiply", "--force", *flags)
        after = snapshot(self.out)
        kind = before[values][2][0]
        if kind.kind != "f":
            with h5py.File(source) as a, h5py.File(self.out) as b:
                self.assertEqual(b[values].dtype, np.float32)
                np.testing.assert_array_equal(a[values][()].astype("float32"), b[values][()])
            for of in (before, after):
                of[values] = (of[values][:2], of[values][2][1:])
        self.assertEqual(before.keys(), after.keys())
        for name in before:
            self.assertEqual(before[name], after[name], name)
        self.nothing_else_differs(source, before, values)

    def normalized(self, source, values, *flags):
        """Nothing but the values, obs and uns differs; obs has the factors, uns the record."""
        run("normalize", source, "-o", self.out, "--log-base", "2", "--key-added", "nf", "--force", *flags)
        before, after = snapshot(source), snapshot(self.out)
        added = {name for name in after if name not in before}
        old = before["obs"][0] == "dataset"
        self.assertEqual(added - {"uns"}, {"uns/log1p", "uns/log1p/base"} | (set() if old else {"obs/nf"}))
        for name in before:
            if name not in ("/", "obs", "uns", values):
                self.assertEqual(before[name], after[name], name)
        if not old:
            self.nothing_else_differs(source, before, values, "obs/nf", "uns/log1p" if "uns" in before else "uns")
        a, b = self.read(source), self.read(self.out)
        self.assertEqual(a is None, b is None)
        if a is not None:
            self.assertEqual([*a.obs, "nf"], list(b.obs))
            pd.testing.assert_frame_equal(a.obs, b.obs[list(a.obs)])
            pd.testing.assert_frame_equal(a.var, b.var)
            self.assertTrue(np.isfinite(b.obs["nf"]).all())
            self.assertEqual(b.uns["log1p"], {"base": 2.0})
            self.assertEqual(set(a.uns) | {"log1p"}, set(b.uns))

    def both(self, source, values, *flags):
        with self.subTest(source=source.name, values=values):
            self.multiplied_by_one(source, values, *flags)
            self.normalized(source, values, *flags)

    def test_written_here(self):
        source = self.path / "source.h5ad"
        for c, compression in enumerate((None, "gzip", "lzf")):
            for k, kind in enumerate(("float32", "float64", "int64", "uint8")):
                for i, layout in enumerate((sp.csr_matrix, sp.csc_matrix, lambda x: x.toarray())):
                    if BRIEF and (c + k + i) % 3:
                        continue
                    annotated(layout(counts(kind))).write_h5ad(source, compression=compression)
                    with h5py.File(source) as file:
                        sparse = isinstance(file["X"], h5py.Group)
                    self.both(source, "X/data" if sparse else "X")
            self.both(source, "layers/counts/data", "--layer", "counts")
            self.both(source, "layers/dense", "--layer", "dense")
            annotated(counts("float32")).write_h5ad(source, compression=compression)
            self.both(source, "raw/X/data", "--layer", "raw")

    def test_test_data(self):
        if not DATA:
            self.skipTest("CSRNORM_TEST_DATA is not set")
        for source in sorted(Path(DATA).glob("*.h5ad")):
            with h5py.File(source) as file:
                values = "X/data" if isinstance(file["X"], h5py.Group) else "X"
                layers = list(file.get("layers", []))
            self.both(source, values)
            for layer in layers:
                with h5py.File(source) as file:
                    sparse = isinstance(file["layers"][layer], h5py.Group)
                self.both(source, f"layers/{layer}" + "/data" * sparse, "--layer", layer)

    def test_natural_logarithm(self):
        """An empty record: what anndata before 0.12 makes of scanpy's {"base": None}, so that it opens there too."""
        source = self.path / "source.h5ad"
        annotated(counts("float32")).write_h5ad(source)
        run("normalize", source, "-o", self.out, "--log1p")
        self.assertEqual(anndata.read_h5ad(self.out).uns["log1p"], {})

    def test_new_files_open(self):
        run("simulate", "-o", self.out, "--cells", 50, "--genes", 70, "--seed", 3)
        made = anndata.read_h5ad(self.out)
        self.assertEqual(made.shape, (50, 70))
        self.assertEqual(made.X.format, "csr")
        with h5py.File(self.out) as file:
            self.assertEqual(sorted(file), ["X", "layers", "obs", "obsm", "obsp", "uns", "var", "varm", "varp"])
            self.assertEqual(file["X/data"].maxshape, (None,))

    def make_10x(self, path):
        x = counts("int32", 25, 12)
        types = ["Gene Expression", "Antibody Capture", "Gene Expression"] * 4
        with h5py.File(path, "w") as file:
            matrix = file.create_group("matrix")
            for name in ("data", "indices", "indptr"):
                matrix.create_dataset(name, data=getattr(x, name), compression="gzip", shuffle=True)
            matrix["shape"] = np.array(x.shape[::-1], dtype="int32")
            matrix["barcodes"] = np.array([f"B{i}-1" for i in range(25)], dtype="S20")
            features = matrix.create_group("features")
            features["id"] = np.array([f"ENS{j}" for j in range(12)], dtype="S20")
            features["name"] = np.array([f"Gene{j}" for j in range(12)], dtype="S20")
            features["feature_type"] = np.array(types, dtype="S20")
            features["genome"] = np.array(["hg19", "", "mm10"] * 4, dtype="S10")

    @unittest.skipUnless(scanpy, "scanpy is not installed")
    def test_10x_features(self):
        source = self.path / "tenx.h5"
        self.make_10x(source)
        (self.path / "ones.txt").write_text("1\n" * 25)
        for flags, options in (([], {}), (["--feature-types", "all"], {"gex_only": False}),
                               (["--genome", "mm10"], {"genome": "mm10"})):
            with self.subTest(flags=flags):
                run("scale", source, "-o", self.out, "-a", "rows", "-b", self.path / "ones.txt", "--op", "multiply",
                    "--force", *flags)
                expected, got = scanpy.read_10x_h5(source, **options), anndata.read_h5ad(self.out)
                self.assertEqual(list(expected.obs_names), list(got.obs_names))
                self.assertEqual(list(expected.var_names), list(got.var_names))
                for column in ("gene_ids", "feature_types", "genome"):
                    self.assertEqual(list(expected.var[column]), list(got.var[column]))
                np.testing.assert_array_equal(expected.X.toarray(), got.X.toarray())

    @unittest.skipUnless(scanpy, "scanpy is not installed")
    def test_10x_probes(self):
        """The texts of a file of probes, whose features have more names than genes do."""
        source = self.path / "tenx.h5"
        self.make_10x(source)
        with h5py.File(source, "r+") as file:
            features = file["matrix/features"]
            features["gene_id"] = np.array([f"GENE{j // 2}" for j in range(12)], dtype="S20")
            features["probe_region"] = np.array(["spliced", "unspliced", "other"] * 4, dtype="S20")
            features["_all_tag_keys"] = np.array(["genome"], dtype="S20")
        run("normalize", source, "-o", self.out, "--force")
        expected, got = scanpy.read_10x_h5(source), anndata.read_h5ad(self.out)
        self.assertEqual(set(expected.var.columns), set(got.var.columns))
        for column in expected.var.columns:
            self.assertEqual(list(expected.var[column]), list(got.var[column]))

    def test_no_elements(self):
        """A dense matrix without rows, columns or both has sums like a sparse one, and nothing to exclude."""
        for shape in ((0, 2), (2, 0), (0, 0)):
            path, out = self.path / "none.h5ad", self.path / "out.h5ad"
            anndata.AnnData(np.zeros(shape, "f4")).write_h5ad(path)
            for axis, n in (("rows", shape[0]), ("columns", shape[1])):
                done = subprocess.run([PROGRAM, "sums", path, "--axis", axis], capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stdout), (0, "0\n" * n))
            run("normalize", path, "-o", out, "--force", "--exclude-highly-expressed")
            self.assertEqual(anndata.read_h5ad(out).shape, shape)

    @unittest.skipUnless(hdf5plugin, "hdf5plugin is not installed")
    def test_plugins(self):
        """Filters of plugins: without them a sentence, with them the values; indices as they were."""
        x = sp.random(200, 300, 0.1, "csr", np.float32, random_state=1)
        source, whole = self.path / "plugin.h5ad", self.path / "whole.h5ad"
        anndata.AnnData(x).write_h5ad(source)
        run("normalize", source, "-o", whole, "--log1p", "--force")
        expected = anndata.read_h5ad(whole).X
        for options in (hdf5plugin.Blosc(), hdf5plugin.Zstd(), hdf5plugin.LZ4(), hdf5plugin.Bitshuffle()):
            with self.subTest(filter=options.filter_id):
                with h5py.File(source, "r+") as file:
                    for name in ("data", "indices"):
                        values = file["X"][name][:]
                        del file["X"][name]
                        file["X"].create_dataset(name, data=values, chunks=(1000,), maxshape=(None,), **options)
                command = [PROGRAM, "normalize", source, "-o", self.out, "--log1p", "--force", "-q"]
                environment = {name: os.environ[name] for name in os.environ if name != "HDF5_PLUGIN_PATH"}
                done = subprocess.run(command, capture_output=True, text=True, env=environment)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"(HDF5 filter {options.filter_id}), for which no plugin is installed", done.stderr)
                environment["HDF5_PLUGIN_PATH"] = hdf5plugin.PLUGIN_PATH
                done = subprocess.run(command, capture_output=True, text=True, env=environment)
                self.assertEqual(done.returncode, 0, done.stderr)
                got = anndata.read_h5ad(self.out).X
                np.testing.assert_array_equal(got.indices, expected.indices)
                np.testing.assert_array_equal(got.data, expected.data)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
