"""What Pillow makes of small pictures in every format, for crates/beit-data/tests/formats.rs.

Usage: python format_goldens.py ../../crates/beit-data/tests/goldens/formats

Writes the pictures and list.csv: the name of each, height, width and zlib.crc32 of `convert("RGB")`, stood upright. What Pillow
does not write, it is given by hand. Made with Pillow 13.0.0 (libjpeg-turbo 3.2).
"""

import csv
import io
import pathlib
import struct
import sys
import zlib

import numpy
from PIL import Image, ImageOps

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
random = numpy.random.default_rng(1)
HEIGHT, WIDTH = 21, 37
y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
COLOUR = numpy.stack([x * 7 % 256, y * 12 % 256, x * y % 256], -1).astype(numpy.uint8)
COLOUR[5:9, 5:20] = random.integers(0, 256, (4, 15, 3))
INK = numpy.concatenate([255 - COLOUR, ((x + y) * 5 % 200)[..., None].astype(numpy.uint8)], -1)
NUMBERS = random.integers(0, 256, (HEIGHT, WIDTH))
PALETTE = random.integers(0, 256, 768).astype(numpy.uint8).tobytes()
image, inks = Image.fromarray(COLOUR), Image.frombytes("CMYK", (WIDTH, HEIGHT), INK.tobytes())
files = {}


def saved(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


# JPEG: which markers say what its colours are, and what is missing of it.


def segments(jpeg):
    """Marker, start and end of each segment up to the first scan."""
    at = 2
    while True:
        end = at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        yield jpeg[at + 1], at, end
        if jpeg[at + 1] == 0xDA:
            return
        at = end


def marked(jpeg, *applications):
    """The file with these segments instead of its own."""
    parts = list(segments(jpeg))
    kept = b"".join(jpeg[start:end] for marker, start, end in parts if marker not in (0xE0, 0xEE))
    return jpeg[:2] + b"".join(applications) + kept + jpeg[parts[-1][2] :]


def named(jpeg, names):
    """The file with other names of its components."""
    renamed = bytearray(jpeg)
    for marker, start, _ in segments(jpeg):
        for index, name in enumerate(names):
            if marker == 0xC0:
                renamed[start + 10 + 3 * index] = name
            if marker == 0xDA:
                renamed[start + 5 + 2 * index] = name
    return bytes(renamed)


def cut(jpeg, percent):
    """The file without the end of its scans, but with the marker of the end, cut where Pillow reads it."""
    start = list(segments(jpeg))[-1][2]
    for end in range(start + (len(jpeg) - 2 - start) * percent // 100, len(jpeg)):
        try:
            Image.open(io.BytesIO(jpeg[:end] + b"\xff\xd9")).load()
            return jpeg[:end] + b"\xff\xd9"
        except OSError:
            pass
    raise ValueError("Pillow reads no part of it")


JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
plain, whole = saved(image, "JPEG"), saved(image, "JPEG", subsampling=0)
progressive, grey = saved(image, "JPEG", progressive=True), saved(image.convert("L"), "JPEG")
cmyk = saved(inks, "JPEG")
for transform in range(3):
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
    files[f"jfif-adobe-{transform}.jpg"] = marked(plain, JFIF, adobe)
    files[f"adobe-{transform}-jfif.jpg"] = marked(progressive, adobe, JFIF)
    files[f"adobe-{transform}.jpg"] = marked(whole, adobe)
    files[f"cmyk-adobe-{transform}.jpg"] = marked(cmyk, adobe)
    files[f"cmyk-jfif-adobe-{transform}.jpg"] = marked(saved(inks, "JPEG", subsampling=2), JFIF, adobe)
files["no-marker.jpg"], files["cmyk-no-marker.jpg"] = marked(plain), marked(cmyk)
files["jfif-named-rgb.jpg"] = named(whole, b"RGB")
for names in (b"RGB", b"BGR", b"\0\1\2"):
    files[f"named-{names.hex()}.jpg"] = named(marked(whole), names)
files["cmyk-progressive.jpg"] = saved(inks, "JPEG", progressive=True, subsampling=1)
for name, jpeg in dict(plain=plain, whole=whole, progressive=progressive, grey=grey, cmyk=cmyk).items():
    for percent in (10, 50, 90):
        files[f"cut-{name}-{percent}.jpg"] = cut(jpeg, percent)
files["cut-restarts.jpg"] = cut(saved(image, "JPEG", restart_marker_blocks=2), 60)

# BMP.


def rows(pixels, bits=8, align=4, top_down=False):
    """Rows from below, of so many bits a sample, filled up to a multiple of `align` bytes."""
    packed = []
    for row in pixels if top_down else pixels[::-1]:
        if bits == 8:
            data = row.tobytes()
        else:
            data = numpy.packbits((row[:, None] >> numpy.arange(bits)[::-1] & 1).astype(numpy.uint8)).tobytes()
        packed.append(data + b"\0" * (-len(data) % align))
    return b"".join(packed)


def bmp(bits, data, palette=b"", height=HEIGHT, compression=0, masks=b""):
    header = (40, WIDTH, height, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0)
    start = 54 + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", start + len(data), 0, 0, start, *header) + masks + palette + data


def runs(numbers, bits):
    """Rows as runs, and as they are where two neighbours differ thrice."""
    coded = b""
    for row in numbers[::-1]:
        at = 0
        while at < WIDTH:
            end = at + 1
            while end < WIDTH and row[end] == row[at]:
                end += 1
            if bits == 8 and end == at + 1 and at + 4 <= WIDTH:
                end = at + 4
                coded += bytes([0, 4, *row[at:end]])
            else:
                coded += bytes([end - at, row[at] if bits == 8 else row[at] * 17])
            at = end
        coded += b"\0\0"
    return coded + b"\0\1"


colours = random.integers(0, 256, (256, 4)).astype(numpy.uint8)
colours[:, 3] = 0
blurred = numpy.repeat(NUMBERS, 3, 1)[:, :WIDTH].astype(numpy.uint8)
for bits in (1, 4, 8):
    few = (NUMBERS % (1 << bits)).astype(numpy.uint8)
    files[f"palette-{bits}.bmp"] = bmp(bits, rows(few, bits), colours[: 1 << bits].tobytes())
    files[f"down-{bits}.bmp"] = bmp(bits, rows(few, bits, top_down=True), colours[: 1 << bits].tobytes(), -HEIGHT)
bgr, bgrx = COLOUR[:, :, ::-1], numpy.dstack([COLOUR[:, :, ::-1], NUMBERS.astype(numpy.uint8)])
files["24.bmp"], files["down-24.bmp"] = bmp(24, rows(bgr)), bmp(24, rows(bgr, top_down=True), height=-HEIGHT)
files["32.bmp"] = bmp(32, rows(bgrx))
files["masks.bmp"] = bmp(32, rows(bgrx), compression=3, masks=struct.pack("<III", 0xFF0000, 0xFF00, 0xFF))
files["runs-8.bmp"] = bmp(8, runs(blurred, 8), colours.tobytes(), compression=1)
files["runs-4.bmp"] = bmp(4, runs(blurred % 16, 4), colours[:16].tobytes(), compression=2)

# GIF.


def gif(screen, numbers, corner=(0, 0), own=b"", transparent=None, interlaced=False, shared=PALETTE):
    """One frame. A code of nine bits a pixel, and a new table before codes grow."""
    codes = [256, *numbers.flatten(), 257]
    if interlaced:
        order = [row for first, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for row in range(first, len(numbers), step)]
        codes = [256, *numbers[order].flatten(), 257]
    codes = [code for index, number in enumerate(codes) for code in ([256, number] if index % 250 == 249 else [number])]
    bits = sum(int(code) << (9 * index) for index, code in enumerate(codes))
    data = bits.to_bytes(len(codes) * 9 // 8 + 1, "little")
    blocks = b"".join(bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255))
    control = b"" if transparent is None else b"!\xf9\4\1\0\0" + bytes([transparent]) + b"\0"
    flags = (0x87 if own else 0) | (0x40 if interlaced else 0)
    frame = b"," + struct.pack("<HHHHB", *corner, numbers.shape[1], numbers.shape[0], flags) + own + b"\x08" + blocks + b"\0"
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x87 if shared else 0, 9, 0) + shared + control + frame + b";"


own, small = PALETTE[::-1], NUMBERS[:11, :13]
files["screen.gif"] = gif((13, 11), small)
files["own-palette.gif"], files["only-own.gif"] = gif((13, 11), small, own=own), gif((13, 11), small, own=own, shared=b"")
files["interlaced.gif"] = gif((13, 11), small, interlaced=True)
files["inside.gif"] = gif((30, 25), small, (5, 7))
files["inside-transparent.gif"] = gif((30, 25), small, (5, 7), own, int(small[0, 0]), True)
files["outside.gif"] = gif((10, 10), small, (5, 7))
files["frames.gif"] = saved(image.quantize(99), "GIF", save_all=True, append_images=[image.quantize(9)], duration=50)

# TIFF.


def tiff(order, strips, bits, meaning, samples, codec=1, **more):
    """One picture of HEIGHT x WIDTH; `more` are tags of 16 bits by `t` and number."""
    letter = {"II": "<", "MM": ">"}[order]
    places = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    tags = {256: [WIDTH], 257: [HEIGHT], 258: [bits] * samples, 259: [codec], 262: [meaning], 277: [samples]}
    tags |= {int(name[1:]): value for name, value in more.items()}
    names = (324, 325) if 322 in tags else (273, 279)
    tags |= {names[0]: places, names[1]: [len(strip) for strip in strips]}
    at = 8 + sum(map(len, strips)) + sum(map(len, strips)) % 2
    entries, values = b"", b""
    for tag, value in sorted(tags.items()):
        wide = tag in names
        data = struct.pack(f"{letter}{len(value)}{'I' if wide else 'H'}", *value)
        if len(data) > 4:
            place = at + 6 + 12 * len(tags) + len(values)
            values, data = values + data, struct.pack(f"{letter}I", place)
        entries += struct.pack(f"{letter}HHI", tag, 4 if wide else 3, len(value)) + data.ljust(4, b"\0")
    body = order.encode() + struct.pack(f"{letter}HI", 42, at) + b"".join(strips)
    return body.ljust(at, b"\0") + struct.pack(f"{letter}H", len(tags)) + entries + b"\0" * 4 + values


def tiles(pixels, side=16):
    padded = numpy.pad(pixels, [(0, -HEIGHT % side), (0, -WIDTH % side), *[(0, 0)] * (pixels.ndim - 2)])
    across, down = range(0, padded.shape[1], side), range(0, padded.shape[0], side)
    return [padded[top : top + side, left : left + side] for top in down for left in across]


wide = random.integers(0, 65536, (HEIGHT, WIDTH, 4))
quads = numpy.dstack([COLOUR, NUMBERS.astype(numpy.uint8)])
for name, picture in dict(rgb=image, grey=image.convert("L"), palette=image.quantize(99), ink=inks).items():
    for codec in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        files[f"{name}-{codec}.tif"] = saved(picture, "TIFF", compression=codec)
files["big.tif"] = saved(image.quantize(99), "TIFF", big_tiff=True)
files["bits-group4.tif"] = saved(image.convert("1"), "TIFF", compression="group4")
files["differences.tif"] = saved(image, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
files["idle-differences.tif"] = tiff("II", [COLOUR.tobytes()], 8, 2, 3, t317=[2])
files["jpeg.tif"], files["jpeg-grey.tif"] = (saved(p, "TIFF", compression="jpeg") for p in (image, image.convert("L")))
files["jpeg-ink.tif"] = saved(inks, "TIFF", compression="jpeg")
files["jpeg-tiles.tif"] = tiff("II", [marked(saved(Image.fromarray(tile), "JPEG")) for tile in tiles(COLOUR)],
    8, 6, 3, 7, t322=[16], t323=[16], t530=[2, 2])  # fmt: skip
files["jpeg-rgb.tif"] = tiff("MM", [marked(saved(image, "JPEG", keep_rgb=True))], 8, 2, 3, 7)
files["pages.tif"] = saved(image, "TIFF", save_all=True, append_images=[image.rotate(180)])
for order, kind in (("II", "<u2"), ("MM", ">u2")):
    files[f"rgb-16-{order}.tif"] = tiff(order, [wide[:, :, :3].astype(kind).tobytes()], 16, 2, 3)
    files[f"ink-16-{order}.tif"] = tiff(order, [wide.astype(kind).tobytes()], 16, 5, 4)
for meaning in (0, 1, 3):
    for bits in (1, 4, 8):
        strips = [rows((NUMBERS % (1 << bits)).astype(numpy.uint8)[top : top + 5][::-1], bits, 1) for top in range(0, HEIGHT, 5)]
        map_ = {"t320": random.integers(0, 65536, 3 << bits).tolist()} if meaning == 3 else {}
        files[f"meaning-{meaning}-{bits}.tif"] = tiff("II", strips, bits, meaning, 1, t278=[5], **map_)
for extra in (0, 1, 2):
    files[f"extra-{extra}.tif"] = tiff("II", [quads.tobytes()], 8, 2, 4, t338=[extra])
files["grey-extra.tif"] = tiff("MM", [quads[:, :, :2].tobytes()], 8, 1, 2, t338=[2])
files["planes.tif"] = tiff("II", [zlib.compress(COLOUR[:, :, c].tobytes()) for c in range(3)], 8, 2, 3, 8, t284=[2])
files["tiles.tif"] = tiff("MM", [tile.tobytes() for tile in tiles(COLOUR)], 8, 2, 3, t322=[16], t323=[16])
for turn in range(2, 9):
    files[f"turn-{turn}.tif"] = tiff("II", [COLOUR.tobytes()], 8, 2, 3, t274=[turn])

lines = []
for name, data in sorted(files.items()):
    (folder / name).write_bytes(data)
    opened = Image.open(io.BytesIO(data))
    opened.load()
    # A TIFF stands upright once it is loaded.
    shown = (opened if opened.format == "TIFF" else ImageOps.exif_transpose(opened)).convert("RGB")
    lines.append([name, shown.height, shown.width, zlib.crc32(shown.tobytes())])
with open(folder / "list.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows([["file", "height", "width", "crc32"], *lines])
