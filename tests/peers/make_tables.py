"""Small data sets in Parquet and Arrow files, written by datasets and pyarrow, for crates/beit-data/tests/tables.rs.

    python make_tables.py ../../crates/beit-data/tests/goldens/tables

`pictures.txt` has the pictures as hexadecimal numbers, one a line. `rows.csv` says which of them each row of each set holds (`-` where it holds
none), and its label. Needs requirements-tables.txt.
"""

import csv
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from PIL import Image

PICTURES = 12
NAMES = ["cat", "dog", "eel"]
PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def picture(number):
    pixels = np.random.default_rng(number).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


ALL = [picture(number) for number in range(PICTURES)]


def cells(numbers):
    return [None if n is None else {"bytes": ALL[n], "path": f"{n}.png"} for n in numbers]


def hub_set(numbers, labelled=True):
    """A set as `datasets` makes it, a picture's class the remainder of its number."""
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=NAMES)})
    labels = [n % 3 if labelled else -1 for n in numbers]
    return Dataset.from_dict({"image": cells(numbers), "label": labels}, features=features)


class Rows:
    """What each set should hold."""

    def __init__(self):
        self.rows = []

    def add(self, spec, split, numbers, labels):
        for row, (number, label) in enumerate(zip(numbers, labels, strict=True)):
            text = ["-" if n is None else n for n in (number, label)]
            self.rows.append([spec, split, row, *text])


def hub(out, rows):
    """As the hub has it: a file or more for each split, of which the test split has no labels."""
    data = out / "hub" / "data"
    data.mkdir(parents=True)
    parts = {"train-00000-of-00002": [0, 1, 2, 3], "train-00001-of-00002": [4, 5, 6], "validation-00000-of-00001": [7, 8], "test-00000-of-00001": [9]}
    for name, numbers in parts.items():
        hub_set(numbers, labelled=not name.startswith("test")).to_parquet(data / f"{name}.parquet", batch_size=2)
    rows.add("parquet:hub", "train", range(7), [NAMES[n % 3] for n in range(7)])
    rows.add("parquet:hub", "test", [7, 8], [NAMES[1], NAMES[2]])
    rows.add("parquet:hub/data/test-00000-of-00001.parquet", "train", [9], [None])


def other_parquet(out, rows):
    """What pyarrow writes where it is told to: codecs, pages and dictionaries; rows without a picture; texts, bytes and lists beside it."""
    folder = out / "other"
    folder.mkdir()
    numbers = [0, None, 1, 2, 2, 3]
    labels = ["dog", "cat", None, "dog", "eel", "cat"]
    table = pa.table({
        "boxes": pa.array([[[1, 2], []]] * 6, pa.list_(pa.list_(pa.int32()))),
        "img": pa.array(cells(numbers), PICTURE),
        "name": pa.array(labels),
        "raw": pa.array([ALL[n or 0] for n in numbers], pa.large_binary()),
        "small": pa.array([3, 0, 1, 1, None, 2], pa.uint8()),
    })
    ways = {
        "snappy": {"row_group_size": 4},
        "zstd": {"use_dictionary": False, "data_page_version": "2.0", "data_page_size": 100, "write_batch_size": 2},
        "gzip": {"write_page_index": True},
        "brotli": {},
    }
    for codec, way in ways.items():
        pq.write_table(table, folder / f"{codec}.parquet", compression=codec, write_statistics=False, store_schema=False, **way)
        if codec != "brotli":
            rows.add(f"parquet:other/{codec}.parquet,label=name", "train", numbers, labels)
    rows.add("parquet:other/zstd.parquet,image=raw,label=small", "train", [n or 0 for n in numbers], ["3", "0", "1", "1", None, "2"])


def saved(out, rows):
    """`save_to_disk` of one set in two files, and of two splits."""
    with tempfile.TemporaryDirectory() as scratch:
        hub_set(range(7)).save_to_disk(f"{scratch}/one", num_shards=2)
        DatasetDict({"train": hub_set(range(5)), "validation": hub_set([7, 8])}).save_to_disk(f"{scratch}/dict")
        for name in ["one", "dict"]:
            shutil.copytree(f"{scratch}/{name}", out / "saved" / name)
    for path in (out / "saved").rglob("state.json"):
        state = json.loads(path.read_text())
        # The only thing in these files that is another each time.
        path.write_text(json.dumps(state | {"_fingerprint": "0"}, indent=2))
    rows.add("arrow:saved/one", "train", range(7), [NAMES[n % 3] for n in range(7)])
    rows.add("arrow:saved/dict", "train", range(5), [NAMES[n % 3] for n in range(5)])
    rows.add("arrow:saved/dict", "test", [7, 8], [NAMES[1], NAMES[2]])


def cache(out, rows):
    """What the cache has beside each other: files of splits with their features beside them, and what `map` has left there."""
    folder = out / "cache"
    folder.mkdir()
    for split, numbers in {"train": range(4), "validation": [7]}.items():
        table = pa.table({"image": pa.array(cells(numbers), PICTURE), "label": pa.array([n % 3 for n in numbers])})
        stream(folder / f"some_test-{split}.arrow", table, 3)
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=NAMES)})
    info = datasets.DatasetInfo(features=features)
    info.write_to_directory(str(folder))
    stream(folder / "cache-00c0ffee.arrow", pa.table({"other": [1]}), 1)
    rows.add("arrow:cache", "train", range(4), [NAMES[n % 3] for n in range(4)])
    rows.add("arrow:cache", "test", [7], [NAMES[1]])


def other_arrow(out, rows):
    """Columns of every layout before those that are read, rows without a picture, a slice, and a file with a footer."""
    numbers = [0, None, 1, 2, 2, 3, None, None, 4, 5]
    labels = ["dog", None, "cat", "dog", "eel", "cat", "cat", "dog", None, "eel"]
    count = len(numbers)
    table = pa.table({
        "nothing": pa.nulls(count),
        "view": pa.array(["a text of more than twelve letters", "short"] * 5, pa.string_view()),
        "boxes": pa.array([[[1, 2], []]] * count, pa.list_(pa.list_(pa.int32()))),
        "pairs": pa.array([[1.0, 2.0]] * count, pa.list_(pa.float32(), 2)),
        "map": pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int8())),
        "kind": pa.array(["x", "y"] * 5).dictionary_encode(),
        "flag": pa.array([True, None] * 5),
        "img": pa.array(cells(numbers), PICTURE),
        "name": pa.array(labels, pa.large_string()),
        "raw": pa.array([ALL[n or 0] for n in numbers], pa.large_binary()),
        "small": pa.array([3, 0, 1, 1, None, 2, 0, 0, 0, 0], pa.int16()),
    })
    folder = out / "other"
    stream(folder / "stream.arrow", table, 5)
    some = table.select(["view", "img", "name"])
    with pa.ipc.new_file(folder / "footer.arrow", some.schema) as writer:
        writer.write_table(some.slice(7), 100)
    with pa.ipc.new_stream(folder / "packed.arrow", table.select(["img"]).schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table.select(["img"]).slice(0, 1))
    rows.add("arrow:other/stream.arrow,label=name", "train", numbers, labels)
    rows.add("arrow:other/footer.arrow,label=name", "train", numbers[7:], labels[7:])
    small = ["3", "0", "1", "1", None, "2", "0", "0", "0", "0"]
    rows.add("arrow:other/stream.arrow,image=raw,label=small", "train", [n or 0 for n in numbers], small)


def stream(path, table, rows):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, rows)


def main():
    out = Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    rows = Rows()
    for make in [hub, other_parquet, saved, cache, other_arrow]:
        make(out, rows)
    (out / "pictures.txt").write_text("".join(f"{bytes_.hex()}\n" for bytes_ in ALL))
    with (out / "rows.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["spec", "split", "row", "picture", "label"], *rows.rows])


main()
