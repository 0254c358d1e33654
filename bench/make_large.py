#!/usr/bin/env python3
"""A large .h5ad out of a small one, in seconds: its chunks of values and indices, as they are, several times over.

For trials of memory and time only: rows are cut anew, of equal length, so that a row may hold a gene twice.

    python3 bench/make_large.py counts.h5ad large.h5ad --times 7 --row-length 1000
"""

import argparse

import h5py
import numpy

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("input", help="an .h5ad whose X is CSR, in chunks of the same length for values and indices")
parser.add_argument("output")
parser.add_argument("--times", type=int, default=7)
parser.add_argument("--rows", type=int, help="as many times as so many rows take, instead of --times")
parser.add_argument("--row-length", type=int, default=1000)
arguments = parser.parse_args()


def repeat(source, target, n, total):
    """Whole chunks of the first n elements of `source`, over and over, until there are `total`."""
    made = target.create_dataset(source.name.split("/")[-1], (total,), source.dtype, maxshape=(None,),
                                 chunks=source.chunks, compression=source.compression)
    for first in range(0, total, source.chunks[0]):
        mask, chunk = source.id.read_direct_chunk((first % n,))
        made.id.write_direct_chunk((first,), chunk, mask)


def write_frame(file, name, n):
    frame = file.create_group(name)
    frame.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index",
                        "column-order": numpy.array([], dtype="float64")})
    index = frame.create_dataset("_index", data=[str(i) for i in range(n)], dtype=h5py.string_dtype())
    index.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


with h5py.File(arguments.input) as old, h5py.File(arguments.output, "w") as new:
    data, indices = old["X/data"], old["X/indices"]
    n_genes = int(old["X"].attrs["shape"][1])
    n = data.shape[0] // data.chunks[0] * data.chunks[0]
    n_rows = arguments.rows or n * arguments.times // arguments.row_length
    new.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    X = new.create_group("X")
    X.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_rows, n_genes]})
    repeat(data, X, n, n_rows * arguments.row_length)
    repeat(indices, X, n, n_rows * arguments.row_length)
    X.create_dataset("indptr", data=numpy.arange(n_rows + 1, dtype="int64") * arguments.row_length)
    write_frame(new, "obs", n_rows)
    write_frame(new, "var", n_genes)
    print(f"{n_rows} rows, {n_rows * arguments.row_length} values")
