"""One set of small pictures as a folder, as tar shards, in Parquet and in Arrow files, in one order, for scripts/same-from-all-sources.

    python make_sets.py OUT --pictures 100000

OUT/folder/CLASS/NUMBER.png, OUT/tar/train-000000.tar and so on (names of WebDataset, classes as numbers, and classes.txt), OUT/parquet/data and
OUT/arrow. The order is that of the folder: classes by name, files by name. Needs requirements-tables.txt.
"""

import argparse
import io
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features
from PIL import Image

CLASSES = [f"class-{number}" for number in range(10)]
SIDE = 32
SHARDS = 5
GROUP = 1000
PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def picture(number, label):
    """A bright square on noise, whose size and place its class and number say."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 96, (SIDE, SIDE, 3), dtype=np.uint8)
    top, left = rng.integers(0, SIDE - 14, 2)
    pixels[top : top + label + 4, left : left + 14 - label] = rng.integers(128, 256, 3)
    out = io.BytesIO()
    # Lossless and hardly compressed: what counts is how many there are.
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def rows(pictures):
    """Label, name and file of each picture, in order."""
    for number in range(pictures):
        label = number * len(CLASSES) // pictures
        yield label, f"{number:08}", picture(number, label)


def parts(pictures):
    """Rows shard by shard."""
    all_rows = rows(pictures)
    for shard in range(SHARDS):
        count = (shard + 1) * pictures // SHARDS - shard * pictures // SHARDS
        yield shard, [next(all_rows) for _ in range(count)]


def tar(path, part):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as out:
        for label, name, file in part:
            for ending, content in [("png", file), ("cls", str(label).encode())]:
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))


def folder(path, part):
    for label, name, file in part:
        (path / CLASSES[label] / f"{name}.png").write_bytes(file)


def table(part):
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=CLASSES)})
    columns = {
        "image": pa.array([{"bytes": file, "path": f"{name}.png"} for _, name, file in part], PICTURE),
        "label": pa.array([label for label, _, _ in part], pa.int64()),
    }
    return pa.table(columns, schema=features.arrow_schema)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=int, default=100_000)
    args = parser.parse_args()
    for name in [*(f"folder/{name}" for name in CLASSES), "tar", "parquet/data"]:
        (args.out / name).mkdir(parents=True)
    files = []
    for shard, part in parts(args.pictures):
        tar(args.out / f"tar/train-{shard:06}.tar", part)
        folder(args.out / "folder", part)
        file = args.out / f"parquet/data/train-{shard:05}-of-{SHARDS:05}.parquet"
        pq.write_table(table(part), file, row_group_size=GROUP, compression="snappy")
        files.append(str(file))
    (args.out / "tar/classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    cache = str(args.out / "cache")
    datasets.Dataset.from_parquet(files, cache_dir=cache).save_to_disk(args.out / "arrow", num_shards=SHARDS)


main()
