"""What torchvision, timm and transformers make of photographs, for crates/beit-data/tests/photos.rs.

Usage: python photo_goldens.py ../../crates/beit-data/tests/goldens/photos

Reads the JPEG files there and writes beside them

- NAME.png: the pixels that Pillow decodes, the input of everything below;
- rows.csv, rows.bin.gz: every STRIDE-th row of every output, as bytes. Of an evaluation view the bytes are what the package
  normalised: its floats are scaled back, and are no golden unless all are whole numbers. mean and std are the package's;
- sizes.csv: to which size torchvision resizes, and where it cuts the centre, for sizes at which truncation and rounding show.

Made with Pillow 13.0.0 (libjpeg-turbo), torchvision 0.29.2, timm 1.0.31, transformers 5.23.0.
"""

import csv
import gzip
import pathlib
import sys

import numpy
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision import transforms
from torchvision.transforms.functional import InterpolationMode
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil

folder = pathlib.Path(sys.argv[1])
HALF = [0.5] * 3
# Odd, so that the rows kept have every phase to the rows of the picture.
STRIDE = {28: 1, 56: 3, 224: 31, 384: 61, 512: 101}


def unilm(size):
    """build_transform of the released code."""
    resized = int(size / (224 / 256)) if size < 384 else size
    steps = [transforms.Resize(resized, interpolation=InterpolationMode.BICUBIC), transforms.CenterCrop(size)]
    compose = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(HALF, HALF)])
    return compose, HALF, HALF


def timm_model(name):
    """The transform that timm makes from the data configuration of a model."""
    config = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    return create_transform(**config, is_training=False), list(config["mean"]), list(config["std"])


def hugging_face(size):
    """preprocessor_config.json of microsoft/beit-*."""
    processor = BeitImageProcessorPil(
        do_resize=True, size={"height": size, "width": size}, resample=2, do_center_crop=False,
        do_rescale=True, do_normalize=True, image_mean=HALF, image_std=HALF,
    )  # fmt: skip
    return lambda image: processor(image, return_tensors="pt")["pixel_values"][0], HALF, HALF


VIEWS = {
    "unilm-224": unilm(224),
    "unilm-384": unilm(384),
    "unilm-512": unilm(512),
    "timm-224": timm_model("beit_base_patch16_224.in22k_ft_in22k_in1k"),
    "timm-384": timm_model("beit_base_patch16_384.in22k_ft_in22k_in1k"),
    "timm-512": timm_model("beit_large_patch16_512.in22k_ft_in22k_in1k"),
    "timm-v2-base-224": timm_model("beitv2_base_patch16_224.in1k_ft_in22k_in1k"),
    "timm-v2-large-224": timm_model("beitv2_large_patch16_224.in1k_ft_in22k_in1k"),
    "hf-224": hugging_face(224),
    "hf-384": hugging_face(384),
    "hf-512": hugging_face(512),
}
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}

rows, data = [], []


def keep(photo, operation, mean, std, pixels):
    """Keeps some rows of `pixels [height, width, 3]`."""
    height, width, _ = pixels.shape
    kept = pixels[:: STRIDE[height]]
    rows.append([photo, operation, height, width, STRIDE[height], *mean, *std])
    data.append(kept.astype(numpy.uint8).tobytes())


def view(photo, name, image):
    """An evaluation view, scaled back to the bytes that were normalised."""
    transform, mean, std = VIEWS[name]
    floats = torch.as_tensor(transform(image)).double().permute(1, 2, 0).numpy()
    scaled = (floats * std + mean) * 255
    assert numpy.abs(scaled - scaled.round()).max() < 1e-3, name
    keep(photo, name, mean, std, scaled.round())


for path in sorted(folder.glob("*.jpg")):
    decoded = Image.open(path).convert("RGB")
    decoded.save(path.with_suffix(".png"), optimize=True)
    for name in VIEWS:
        view(path.stem, name, decoded)
    for name, resample in FILTERS.items():
        for size in (28, 56, 384):
            resized = decoded.resize((size, size), resample)
            keep(path.stem, name, HALF, HALF, numpy.asarray(resized))

header = "photo,operation,height,width,stride,mean_r,mean_g,mean_b,std_r,std_g,std_b".split(",")
with open(folder / "rows.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
with open(folder / "rows.bin.gz", "wb") as file:
    file.write(gzip.compress(b"".join(data), 9, mtime=0))


def sizes(height, width, resize, crop):
    """Sizes and places by torchvision itself: the picture tells where it was cut, by its coordinates."""
    resized = transforms.Resize(resize)(Image.new("L", (width, height)))
    grid = numpy.arange(resized.height)[:, None] * 4096 + numpy.arange(resized.width)
    corner = int(numpy.asarray(transforms.CenterCrop(crop)(Image.fromarray(grid.astype(numpy.int32))))[0, 0])
    return [height, width, resize, crop, resized.height, resized.width, corner // 4096, corner % 4096]


CASES = [(256, 224), (248, 224), (235, 224), (384, 384), (512, 512)]
SIDES = [(480, 640), (500, 333), (333, 500), (100, 101), (101, 100), (375, 500), (128, 171), (171, 128), (1, 3), (997, 991)]
# Sides already right: only the margin is rounded. 1, 3, 5, 7 more than the crop are halved to 0, 2, 2, 4.
MARGINS = [(256, 256 + extra, 256, 256) for extra in range(1, 9)] + [(256 + extra, 256, 256, 256) for extra in range(1, 9)]
cases = [(h, w, resize, crop) for resize, crop in CASES for h, w in SIDES] + MARGINS
with open(folder / "sizes.csv", "w", newline="") as file:
    names = "height,width,resize,crop,resized_height,resized_width,top,left".split(",")
    csv.writer(file, lineterminator="\n").writerows([names, *(sizes(*case) for case in cases)])
