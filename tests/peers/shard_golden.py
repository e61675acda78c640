"""Shards of WebDataset and what it reads of them, for crates/beit-data/tests/shards.rs.

Usage: python shard_golden.py ../../crates/beit-data/tests/goldens/shards

Writes small shards with webdataset's own writer and with Python's tarfile in its three formats, samples.csv (one row per sample
with a picture, as webdataset groups files: shard, key, class, bytes and CRC of the picture) and braces.csv (ranges, and what
braceexpand makes of them). The bytes are the same each time. Made with webdataset 1.0.2 and braceexpand 0.1.7.
"""

import csv
import io
import json
import pathlib
import sys
import tarfile
import zlib

import braceexpand
import webdataset
from PIL import Image

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
PICTURES = ("jpg", "jpeg", "png", "webp")


def picture(number, kind="jpeg"):
    image = Image.new("RGB", (8, 6), (number * 20 % 256, 90, 255 - number * 10 % 256))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def write_by_peer():
    with webdataset.ShardWriter(
        str(folder / "peer-%06d.tar"), maxcount=3, verbose=0, mtime=0, user="", group=""
    ) as sink:
        for number in range(5):
            sample = {"__key__": f"photos/{number:04d}", "jpg": picture(number), "cls": str(number % 3).encode()}
            if number % 2:
                sample["txt"] = b"a caption"
            sink.write(sample)


def write_by_tarfile():
    long = "a-long-folder/" * 9 + "name" * 12
    for name, kind in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
        with tarfile.open(folder / f"{name}.tar", "w", format=kind) as archive:
            directory = tarfile.TarInfo("./ant")
            directory.type = tarfile.DIRTYPE
            archive.addfile(directory)
            add(archive, "./ant/1.jpg", picture(1))
            add(archive, "./ant/1.json", json.dumps({"label": 4, "width": 8}).encode())
            add(archive, "./ant/2.seg.png", picture(9, "png"))
            add(archive, "./ant/2.png", picture(2, "png"))
            add(archive, "./ant/2.json", json.dumps({"class": 2}).encode())
            add(archive, "./ant/3.txt", b"no picture")
            add(archive, "./ant/.hidden.jpg", picture(8))
            add(archive, (long[:140] if kind == tarfile.USTAR_FORMAT else long + "/é" * 40) + ".jpg", picture(3))


def samples(shard):
    for sample in webdataset.WebDataset(str(folder / shard), shardshuffle=False, empty_check=False):
        ending = next((e for e in sample if e in PICTURES), None)
        if ending is None:
            continue
        label = sample.get("cls", b"").decode()
        if "json" in sample:
            said = json.loads(sample["json"])
            label = str(said.get("label", said.get("class", "")))
        data = sample[ending]
        yield [shard, f"{sample['__key__']}.{ending}", label, len(data), zlib.crc32(data)]


write_by_peer()
write_by_tarfile()
with open(folder / "samples.csv", "w", newline="") as file:
    out = csv.writer(file, lineterminator="\n")
    for shard in sorted(path.name for path in folder.glob("*.tar")):
        out.writerows(samples(shard))

RANGES = [
    "a", "a-{0..3}.tar", "{000..011}", "{3..1}", "{1..10..3}", "{10..1..4}", "{01..3}", "{-2..2}", "{-02..1}", "{a,b}{0..1}", "x{a,{b,c}d}y",
    "{a..e..2}", "{e..a}", "{{a,b},c}", "{}", "{a}", "a{b", "a}b", "{a,}", "{,a}b", "x{{0..2},7}", "{a{0..1}}", "{0..1..0}", "{0..0}", "{1..3", "{a,b",
    "{a..}", "{1..b}", "p{1,2}q{3,4}",
]  # fmt: skip
with open(folder / "braces.csv", "w", newline="") as file:
    out = csv.writer(file, lineterminator="\n")
    for text in RANGES:
        try:
            out.writerow([text, *braceexpand.braceexpand(text)])
        except braceexpand.UnbalancedBracesError:
            out.writerow([text, "!"])
