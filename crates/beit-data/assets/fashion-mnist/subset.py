"""Draws the embedded part of Fashion-MNIST from the official files.

Usage: python subset.py FOLDER_WITH_THE_OFFICIAL_FILES

Per class, the first 1,600 images of the official training file and the first 400 of the official test file, each file in its
own order. Nothing passes from one to the other. The output is the same, byte for byte, for the same version of zlib.
"""

import gzip
import io
import pathlib
import struct
import sys

CLASSES = 10
SIDE = 28


def read(path, dimensions):
    data = gzip.decompress(path.read_bytes())
    magic, *sizes = struct.unpack_from(f">{1 + dimensions}I", data)
    assert magic == 0x800 + dimensions, path
    return sizes, data[4 + 4 * dimensions :]


def write(path, sizes, data):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=9, filename="", mtime=0) as file:
        file.write(struct.pack(f">{1 + len(sizes)}I", 0x800 + len(sizes), *sizes) + data)
    path.write_bytes(out.getvalue())


def subset(source, target, split, per_class):
    (count, rows, cols), images = read(source / f"{split}-images-idx3-ubyte.gz", 3)
    (labelled,), labels = read(source / f"{split}-labels-idx1-ubyte.gz", 1)
    assert (rows, cols) == (SIDE, SIDE) and count == labelled
    taken, chosen = [0] * CLASSES, []
    for index, label in enumerate(labels):
        if taken[label] < per_class:
            taken[label] += 1
            chosen.append(index)
    assert taken == [per_class] * CLASSES
    size = SIDE * SIDE
    pixels = b"".join(images[index * size : (index + 1) * size] for index in chosen)
    write(target / f"{split}-images-idx3-ubyte.gz", [len(chosen), SIDE, SIDE], pixels)
    write(target / f"{split}-labels-idx1-ubyte.gz", [len(chosen)], bytes(labels[index] for index in chosen))


if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    subset(pathlib.Path(sys.argv[1]), here, "train", 1600)
    subset(pathlib.Path(sys.argv[1]), here, "t10k", 400)
