"""Random configurations through transformers, timm and our command line.

    python check_random.py [--xtask CMD] [--count N] [--seed S]

Each is a classifier of random sizes (heads, patches, rectangles, positions, LayerScale, pooling, channels, classes) with random
weights: of squares written by transformers, of rectangles by timm, since transformers has no positions for these. Our logits must be
within `ALLOWED` of the writer's, those of every conversion of ours must equal them bit for bit, and for what we write transformers (of
squares) and timm must give logits within `ALLOWED` of the original's.
Exit status 0 means that all agreed.
"""

import argparse
import pathlib
import random
import sys
import tempfile

import timm
import torch
import transformers
from transformers import BeitConfig, BeitForImageClassification

from check_exports import load_timm
from checkpoints import CARGO, Xtask, logits_of, print_row
from layouts import read_tensors
from make_packaged import save_timm

# Relative to the greatest logit or to one, in float32.
ALLOWED = 1e-5
WIDTHS = (4, 12, 12, 12)
LAYOUTS = {"hf": "hf", "timm": "timm", "unilm": "there.pth", "unilm-safetensors": "there.safetensors"}


def configuration(dice):
    """Keywords of `BeitConfig`, small ones."""
    # With relative positions transformers takes square patches only.
    patch = dice.choice((2, 4, 7, 8))
    grid = [dice.choice((1, 2, 3, 5)), dice.choice((1, 2, 4, 6))]
    if dice.random() < 0.5:
        grid = [grid[0]] * 2
    heads, positions = dice.choice((1, 2, 3, 4)), dice.randrange(4)
    classes = dice.choice((2, 3, 10))
    return dict(
        image_size=[side * patch for side in grid], patch_size=patch, num_channels=dice.choice((1, 3, 3, 3)),
        hidden_size=heads * dice.choice((2, 4, 8, 22)), num_attention_heads=heads, num_hidden_layers=dice.choice((1, 2, 3)),
        intermediate_size=dice.choice((5, 16, 33)), layer_norm_eps=1e-6,
        layer_scale_init_value=dice.choice((0.0, 0.2)), use_mean_pooling=dice.random() < 0.5, use_mask_token=False,
        use_absolute_position_embeddings=positions != 1, use_relative_position_bias=positions in (1, 2),
        use_shared_relative_position_bias=positions == 3, num_labels=classes,
    )  # fmt: skip


def distance(got, want):
    """The greatest difference, relative to the greatest logit or to one."""
    return (got - want).abs().max().item() / max(1.0, want.abs().max().item())


def by_timm(options):
    """The same model in timm."""
    return timm.create_model(
        "beit_base_patch16_224", img_size=options["image_size"], patch_size=options["patch_size"],
        in_chans=options["num_channels"], embed_dim=options["hidden_size"], num_heads=options["num_attention_heads"],
        depth=options["num_hidden_layers"], mlp_ratio=options["intermediate_size"] / options["hidden_size"],
        init_values=options["layer_scale_init_value"] or 0.0, global_pool="avg" if options["use_mean_pooling"] else "token",
        use_abs_pos_emb=options["use_absolute_position_embeddings"], use_rel_pos_bias=options["use_relative_position_bias"],
        use_shared_rel_pos_bias=options["use_shared_relative_position_bias"], num_classes=options["num_labels"],
    )  # fmt: skip


def check(xtask, number, options, root):
    """The distances of our logits, of transformers' and of timm's; raises ValueError where something disagrees."""
    torch.manual_seed(number)
    height, width = options["image_size"]
    square = height == width
    model = (BeitForImageClassification(BeitConfig(**options)) if square else by_timm(options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    original = root / "original"
    model.save_pretrained(original) if square else save_timm(model, original)
    inputs = dict(pixel_values=torch.randn(2, options["num_channels"], height, width))
    want = logits_of(model, inputs)
    ours = xtask.infer(original, inputs)["logits"]
    found = [distance(ours, want)]
    for layout, name in LAYOUTS.items():
        there = root / name
        xtask.convert(original, there, layout.split("-")[0])
        if not torch.equal(xtask.infer(there, inputs)["logits"], ours):
            raise ValueError(f"our logits change by {layout}")
        if layout == "hf" and square:
            back = BeitForImageClassification.from_pretrained(there, dtype=torch.float32).eval()
            found.append(distance(logits_of(back, inputs), want))
        elif layout == "timm":
            found.append(distance(logits_of(load_timm(there).eval(), inputs), want))
        elif layout == "unilm" and not read_tensors(there):
            raise ValueError("torch.load finds nothing in the .pth")
    if max(found) > ALLOWED:
        raise ValueError(f"logits differ by {max(found):.1e}")
    return found if square else [found[0], None, found[1]]


def main():
    """Prints a row a configuration; exits with 1 if any disagreed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xtask", default=CARGO, help="our command line (default: %(default)s)")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    xtask, dice, failed = Xtask(options.xtask), random.Random(options.seed), 0
    print_row(WIDTHS, "", "ours", "transformers", "timm", "result")
    for number in range(options.count):
        drawn = configuration(dice)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                found = ["-" if x is None else f"{x:.1e}" for x in check(xtask, number, drawn, pathlib.Path(scratch))]
                result = "pass"
            except (RuntimeError, ValueError, KeyError) as problem:
                found, result, failed = ["-"] * 3, f"FAIL: {problem} {drawn}", failed + 1
        print_row(WIDTHS, number, *found, result)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
