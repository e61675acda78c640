"""Pictures changed by the operations of timm's RandAugment, for crates/beit-data/tests/rand_augment.rs.

Usage: python augment_golden.py TIMM/data/auto_augment.py ../../crates/beit-data/tests/goldens

The file is that of timm 0.3.2, which the released code asks for: `pip download timm==0.3.2 --no-deps` and unpack the wheel. It is loaded
alone, so that timm's other parts and torch are not needed.

Writes

- augment.csv: a row for each picture: picture, kind, magnitude, sign, whether magnitudes increase the change, the operation's number,
  height, width, and the colour of what comes in from outside;
- augment.bin.gz: the pictures, as bytes, one after the other; the rows `source` are what the others were made of.

Made with Pillow 13.0.0, in which fillcolor and resample have the same names as in the versions of that time. It refuses to keep no
bits in Posterize, where those gave black.
"""

import gzip
import importlib.util
import pathlib
import sys

from PIL import Image

from augment_sources import SOURCES

spec = importlib.util.spec_from_file_location("auto_augment", sys.argv[1])
timm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(timm)
folder = pathlib.Path(sys.argv[2])

FILLS = {"half": (128, 128, 128), "imagenet": (124, 116, 104)}
# Least, usual and greatest, and one that is no whole number.
MAGNITUDES = [0.0, 4.25, 9.0, 10.0]
CHANGED_BY_MAGNITUDE = [name for name, level in timm.LEVEL_TO_ARG.items() if level]
rows, data = [], b""


def keep(picture, kind, magnitude, sign, increasing, number, fill, image):
    global data
    rows.append(",".join(map(str, [picture, kind, magnitude, sign, increasing, number, image.height, image.width, fill])))
    data += image.convert("RGB").tobytes()


def number_of(name, magnitude, sign):
    """What timm makes of a magnitude, where its coin falls on this side."""
    timm._randomly_negate = lambda value: sign * value
    level = timm.LEVEL_TO_ARG[name]
    return level(magnitude, {"translate_pct": 0.45})[0] if level else 0


def change(name, number, image, fill):
    args = (number,) if timm.LEVEL_TO_ARG[name] else ()
    if name.startswith("Posterize") and number == 0:
        return Image.new(image.mode, image.size)
    return timm.NAME_TO_OP[name](image, *args, fillcolor=fill, resample=Image.BICUBIC)


def grey(fill):
    return fill[0]


for picture, image in SOURCES.items():
    keep(picture, "source", 0, 1, 1, 0, "half", image)
    fill_name = "imagenet" if picture == "wide" else "half"
    fill = FILLS[fill_name] if image.mode == "RGB" else grey(FILLS[fill_name])
    for increasing, kinds in [(1, timm._RAND_INCREASING_TRANSFORMS), (0, timm._RAND_TRANSFORMS)]:
        if increasing == 0 and picture != "small":
            continue
        for name in kinds:
            if increasing == 0 and name not in ("Posterize", "Solarize", "Color", "Sharpness"):
                continue
            several = name in CHANGED_BY_MAGNITUDE
            magnitudes = (MAGNITUDES if picture == "small" else [4.25, 9.0]) if several else [9.0]
            for magnitude in magnitudes:
                numbers = {number_of(name, magnitude, sign): sign for sign in (-1, 1)}
                for number, sign in numbers.items():
                    kind = name.removesuffix("Increasing").removesuffix("Rel")
                    changed = change(name, number, image, fill)
                    keep(picture, kind, magnitude, sign, increasing, repr(number), fill_name, changed)

header = "picture,kind,magnitude,sign,increasing,number,height,width,fill"
(folder / "augment.csv").write_text("\n".join([header, *rows]) + "\n")
(folder / "augment.bin.gz").write_bytes(gzip.compress(data, mtime=0))
print(len(rows), "pictures,", len(data), "bytes,", (folder / "augment.bin.gz").stat().st_size, "packed")
