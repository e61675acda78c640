"""Pictures of other channels and bits than RGB of 8, by Pillow, tifffile and numpy, for crates/beit-data/tests/channels.rs.

Usage: python channel_goldens.py ../../crates/beit-data/tests/goldens/channels

Writes the pictures; list.csv: the name of each, height, width, channels, bits, and zlib.crc32 of its samples `[H, W, C]`, little-endian;
and resized.csv: zlib.crc32 of source.png, grey of 16 bits, resized by Pillow in its mode I;16. Made with Pillow 13.0.0, tifffile 2026.3.3 and
numpy 2.4.6.
"""

import csv
import pathlib
import struct
import sys
import zlib

import numpy
import tifffile
from PIL import Image

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
random = numpy.random.default_rng(5)
HEIGHT, WIDTH = 9, 13
rows = []


def samples(channels, dtype, height=HEIGHT, width=WIDTH):
    """A slope in each channel, and noise over the whole range in a part."""
    greatest = numpy.iinfo(dtype).max
    y, x, c = numpy.mgrid[0:height, 0:width, 0:channels]
    slope = (y * 0.4 + x * 0.3 + c * 0.3) / (height * 0.4 + width * 0.3 + channels * 0.3) * greatest
    values = slope.astype(dtype)
    values[2:6, 3:8] = random.integers(0, greatest + 1, (4, 5, channels), dtype)
    return values


def keep(name, values, bits):
    height, width, channels = values.shape
    data = values.astype("u1" if bits == 8 else "<u2").tobytes()
    rows.append([name, height, width, channels, bits, zlib.crc32(data)])


for bits, dtype in ((8, numpy.uint8), (16, numpy.uint16)):
    of = {channels: samples(channels, dtype) for channels in (1, 2, 3, 4, 5)}

    # PNG. Pillow writes 16 bits in grey alone.
    if bits == 8:
        for mode, channels in (("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)):
            data = of[channels][..., 0] if channels == 1 else of[channels]
            Image.frombytes(mode, (WIDTH, HEIGHT), data.tobytes()).save(folder / f"{mode}-8.png")
            keep(f"{mode}-8.png", of[channels], bits)
    else:
        Image.fromarray(of[1][..., 0]).save(folder / "L-16.png")
        keep("L-16.png", of[1], bits)
        for kind, channels in ((4, 2), (2, 3), (6, 4)):
            lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in of[channels])

            def chunk(name, data):
                return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

            header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
            parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
            (folder / f"kind-{kind}-16.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
            keep(f"kind-{kind}-16.png", of[channels], bits)

    # TIFF.
    def tiff(name, values, data=None, **options):
        name = f"{name}-{bits}.tif"
        tifffile.imwrite(folder / name, values if data is None else data, metadata=None, **options)
        keep(name, values, bits)

    tiff("grey", of[1], of[1][..., 0], photometric="minisblack")
    tiff("rgb", of[3], photometric="rgb", byteorder=">")
    tiff("rgb-lzw", of[3], photometric="rgb", compression="lzw", predictor=True, rowsperstrip=4)
    tiff("rgba", of[4], photometric="rgb", extrasamples=["unassalpha"])
    tiff("rgb-and-two", of[5], photometric="rgb", extrasamples=["unspecified"] * 2)
    tiff("five", of[5], photometric="minisblack", planarconfig="contig", byteorder=">")
    tiff("five-strips", of[5], photometric="minisblack", planarconfig="contig", compression="deflate", predictor=True, rowsperstrip=2)
    planes = numpy.moveaxis(of[5], -1, 0)
    tiff("five-planes", of[5], planes, photometric="minisblack", planarconfig="separate")
    tiff("five-planes-lzw", of[5], planes, photometric="minisblack", planarconfig="separate", compression="lzw", rowsperstrip=4)
    tiff("five-pages", of[5], planes, photometric="minisblack")
    tiled = samples(5, dtype, 20, 35)
    tiff("five-tiles", tiled, photometric="minisblack", planarconfig="contig", tile=(16, 16), compression="deflate")
    tiff("four-inks", of[4], photometric="separated")

    # NumPy.
    def npy(name, values, data):
        name = f"{name}-{bits}.npy"
        numpy.save(folder / name, data)
        keep(name, values, bits)

    npy("grey", of[1], of[1][..., 0])
    npy("last", of[5], of[5])
    npy("first", of[5], numpy.ascontiguousarray(planes))
    if bits == 16:
        npy("last-big", of[5], of[5].astype(">u2"))
        shares = (of[2] / 65535).astype(numpy.float32)
        npy("floats", of[2], shares)
        with open(folder / "floats-v2-16.npy", "wb") as file:
            numpy.lib.format.write_array(file, shares.astype(">f4"), version=(2, 0))
        keep("floats-v2-16.npy", of[2], bits)

with open(folder / "list.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows([["name", "height", "width", "channels", "bits", "crc32"], *rows])

# Values that no filter overshoots: there Pillow cuts each byte by itself.
y, x = numpy.mgrid[0:40, 0:61]
source = Image.fromarray((20_000 + 300 * x + 150 * y + random.integers(0, 4_000, (40, 61))).astype(numpy.uint16))
source.save(folder / "source.png")
table = [["filter", "height", "width", "crc32"]]
for filter in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS):
    for height, width in ((17, 23), (24, 80), (52, 61), (9, 60)):
        resized = source.resize((width, height), filter)
        assert resized.mode == "I;16"
        data = numpy.asarray(resized).astype("<u2").tobytes()
        table.append([filter.name.lower(), height, width, zlib.crc32(data)])
with open(folder / "resized.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows(table)
