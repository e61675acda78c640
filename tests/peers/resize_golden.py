"""Pictures resized and recoloured by Pillow, for crates/beit-data/tests/pillow.rs.

Usage: python resize_golden.py ../../crates/beit-data/tests/goldens

Writes pillow.csv (one row per picture: operation, parameter, height, width), pillow.bin (their RGB bytes, one after the other)
and cmyk.jpg. Made with Pillow 13.0.0.
"""

import pathlib
import sys

from PIL import Image, ImageDraw, ImageEnhance

folder = pathlib.Path(sys.argv[1])


def source(width, height):
    """A gradient, sharp edges and noise: what tells filters apart."""
    image = Image.new("RGB", (width, height))
    state = 12345
    for y in range(height):
        for x in range(width):
            state = (state * 1103515245 + 12345) % 2**31
            noise = state >> 24
            image.putpixel((x, y), (255 * x // width, (noise * 2) % 256, (x * 7 ^ y * 5) % 256))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 4, height // 4, width // 2, height // 2), fill=(255, 255, 255))
    if min(width, height) > 16:
        draw.ellipse((width // 2, height // 2, width - 4, height - 4), fill=(0, 10, 200))
    return image


rows, data = [], b""


def keep(operation, parameter, image):
    global data
    rows.append(f"{operation},{parameter},{image.height},{image.width}")
    data += image.tobytes()


large, small = source(67, 53), source(33, 25)
keep("source", "large", large)
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
for name, resample in FILTERS.items():
    for height, width in [(28, 28), (53, 20), (7, 9), (80, 71)]:
        keep(name, "large", large.resize((width, height), resample))

# Sides of one pixel, great ratios, and sides that stay: of those Pillow skips the pass.
EXTREMES = {
    (1, 13): [(1, 1), (1, 13), (4, 5), (9, 40)],
    (1000, 3): [(7, 3), (7, 2), (1, 1)],
    (2, 1000): [(2, 7), (11, 7), (1, 1)],
    (7, 2): [(7, 2), (7, 1), (1000, 2), (1, 1000), (17, 2)],
    # The height goes first if it loses more than twice as many pixels.
    (9, 20): [(6, 14), (6, 13), (10, 19), (10, 21)],
}
for (width, height), targets in EXTREMES.items():
    extreme = source(width, height)
    keep("source", f"{width}x{height}", extreme)
    for name, resample in FILTERS.items():
        for target in targets:
            keep(name, f"{width}x{height}", extreme.resize(target, resample))
keep("source", "small", small)
for factor in [0.0, 0.6, 0.873, 1.0, 1.4]:
    keep("brightness", factor, ImageEnhance.Brightness(small).enhance(factor))
    keep("contrast", factor, ImageEnhance.Contrast(small).enhance(factor))
    keep("saturation", factor, ImageEnhance.Color(small).enhance(factor))

flat = Image.new("CMYK", (16, 16), (0, 128, 255, 20))
flat.save(folder / "cmyk.jpg", quality=95)
keep("cmyk", "", Image.open(folder / "cmyk.jpg").convert("RGB"))

(folder / "pillow.csv").write_text("operation,parameter,height,width\n" + "\n".join(rows) + "\n")
(folder / "pillow.bin").write_bytes(data)
