"""JPEG files decoded at a half, a quarter and an eighth of their size by Pillow's draft, for crates/beit-data/tests/reduced.rs.

Usage: python draft_golden.py ../../crates/beit-data/tests/goldens

Writes drafts.csv: file, factor, height, width, CRC of the RGB bytes. Made with Pillow 13.0.0.
"""

import csv
import pathlib
import sys
import zlib

from PIL import Image

folder = pathlib.Path(sys.argv[1])
with open(folder / "drafts.csv", "w", newline="") as file:
    out = csv.writer(file, lineterminator="\n")
    paths = [*folder.glob("photos/*.jpg"), *folder.glob("formats/*.jpg")]
    for path in sorted(path for path in paths if not path.name.startswith("cut-")):
        for factor in (1, 2, 4, 8):
            image = Image.open(path)
            if image.mode not in ("RGB", "L"):
                continue
            wanted = tuple(-(-side // factor) for side in image.size)
            # Draft gives no picture smaller than what is asked for.
            image.draft(image.mode, tuple(max(side // factor, 1) for side in image.size))
            assert image.size == wanted, (path, factor, image.size, wanted)
            data = image.convert("RGB").tobytes()
            out.writerow([path.relative_to(folder), factor, image.height, image.width, zlib.crc32(data)])
