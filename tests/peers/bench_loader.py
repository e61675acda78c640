"""Images a second of processor time from shards of JPEG files, ours beside webdataset with torchvision, in turns.

Usage:
    python bench_loader.py make PHOTOS.tar SHARDS        # shards of 400 x 300 pixels of the JPEG files in an archive
    python bench_loader.py run SHARDS PROGRAM [TURNS]    # PROGRAM: target/release/examples/load of crates/beit-data

Every side reads, decodes, takes a random region of 8 to 100 % resized to 224 x 224 (bicubic), flips, normalises and collates batches of
64, in one process on one core; what is counted is the time of the processor, so that other programs do not count. Of ours it is that of the
whole program. `pil` is what webdataset and torchvision's own recipes do (Pillow); `tensor` decodes by torchvision's
libjpeg-turbo and resizes tensors of bytes, which gives other pixels. `fast` is ours with --fast-decode. Made with webdataset 1.0.2,
torchvision 0.29.2, PyTorch 2.15.0 and Pillow 13.0.0.
"""

import io
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tarfile
import time

IMAGES = 1024
BATCH = 64
SIZE = (400, 300)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make(photos, folder):
    """One sample a picture: JPEG of quality 90 with colour at half resolution, and a class."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    source = tarfile.open(photos)
    names = [m for m in source if m.name.lower().endswith((".jpg", ".jpeg"))][:IMAGES]
    for start in range(0, len(names), 512):
        with tarfile.open(folder / f"train-{start // 512:06d}.tar", "w") as out:
            for number, member in enumerate(names[start : start + 512], start):
                image = Image.open(source.extractfile(member)).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
                data = io.BytesIO()
                image.save(data, "jpeg", quality=90)
                for ending, contents in [("jpg", data.getvalue()), ("cls", str(number % 10).encode())]:
                    info = tarfile.TarInfo(f"{number:06d}.{ending}")
                    info.size = len(contents)
                    out.addfile(info, io.BytesIO(contents))


def peer(shards, kind):
    import torch
    import torchvision
    import webdataset
    from torchvision.transforms import InterpolationMode, v2

    torch.set_num_threads(1)
    crop = v2.RandomResizedCrop(224, interpolation=InterpolationMode.BICUBIC, antialias=True)
    rest = [crop, v2.RandomHorizontalFlip(), *([v2.PILToTensor()] if kind == "pil" else [])]
    transform = v2.Compose([*rest, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    data = webdataset.WebDataset(urls, shardshuffle=False).repeat()
    if kind == "pil":
        data = data.decode("pilrgb")
        picture = transform
    else:

        def picture(data):
            data = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            return transform(torchvision.io.decode_jpeg(data, torchvision.io.ImageReadMode.RGB))

    data = data.to_tuple("jpg", "cls").map_tuple(picture, int).batched(BATCH)
    batches = iter(data)
    next(batches)
    begin = time.process_time()
    for _ in range(IMAGES // BATCH):
        assert next(batches)[0].shape == (BATCH, 3, 224, 224)
    return IMAGES / (time.process_time() - begin)


def ours(program, shards, *flags):
    def spent():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    begin = spent()
    subprocess.run([program, f"tar:{shards}", str(IMAGES), *flags], stdout=subprocess.DEVNULL, check=True)
    return IMAGES / (spent() - begin)


def run(shards, program, turns):
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    rates = {"ours": [], "fast": [], "pil": [], "tensor": []}
    for _ in range(turns):
        rates["ours"].append(ours(program, shards))
        rates["pil"].append(peer(shards, "pil"))
        rates["fast"].append(ours(program, shards, "fast"))
        rates["tensor"].append(peer(shards, "tensor"))
        print({name: round(of[-1], 1) for name, of in rates.items()}, flush=True)
    middle = {name: statistics.median(of) for name, of in rates.items()}
    for name in ("ours", "fast"):
        ratios = [f"{middle[name] / middle[other]:.2f} of {other}" for other in ("pil", "tensor")]
        print(f"{name}: {middle[name]:.1f} images/s of processor time, {', '.join(ratios)}")


if __name__ == "__main__":
    verb, first, second, *rest = sys.argv[1:]
    if verb == "make":
        make(first, pathlib.Path(second))
    else:
        run(pathlib.Path(first), second, int(rest[0]) if rest else 5)
