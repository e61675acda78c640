"""Random segmenters through transformers and our command line, there and back.

    python check_segmenters.py [--xtask CMD] [--count N] [--seed S]

Each is a `BeitForSemanticSegmentation` of random sizes with random weights and running statistics, saved by transformers. Our logits
with `--taps transformers` must be within `ALLOWED` of its own, those of every conversion of ours must equal ours bit for bit, and for
the folder that we write transformers must give logits within `ALLOWED` of the original's.
Exit status 0 means that all agreed.
"""

import argparse
import pathlib
import random
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BeitConfig, BeitForSemanticSegmentation

from check_random import LAYOUTS, distance
from checkpoints import CARGO, Xtask, logits_of, print_row

# Relative to the greatest logit or to one, in float32.
ALLOWED = 1e-5
WIDTHS = (4, 12, 12, 12)


class Tapped(Xtask):
    """Our command line, which reads the blocks that transformers reads."""

    def infer(self, path, inputs):
        with tempfile.TemporaryDirectory() as scratch:
            pixels, out = (pathlib.Path(scratch) / name for name in ("in.safetensors", "out.safetensors"))
            save_file(inputs, pixels)
            self.run("infer", "--model", path, "--taps", "transformers", "--pixels", pixels, "--out", out)
            return load_file(out)


def configuration(dice):
    """Keywords of `BeitConfig`, small ones."""
    # transformers takes square images with relative positions only.
    patch, side = dice.choice((2, 4, 8)), dice.choice((2, 3, 4, 6))
    heads, positions = dice.choice((1, 2, 3)), dice.randrange(3)
    depth = dice.choice((5, 6, 8))
    # The numbers by which transformers reads four blocks in their order, from the first, which is 2.
    taps = sorted(dice.sample(range(2, depth + 1), 4))
    return dict(
        image_size=side * patch, patch_size=patch, hidden_size=heads * dice.choice((4, 8)), num_attention_heads=heads,
        num_hidden_layers=depth, intermediate_size=dice.choice((5, 16)), layer_norm_eps=1e-6, out_indices=taps,
        layer_scale_init_value=dice.choice((0.0, 0.2)), use_mask_token=False, pool_scales=dice.choice(([1, 2, 3, 6], [1, 2])),
        use_absolute_position_embeddings=positions != 1, use_relative_position_bias=positions == 1,
        use_shared_relative_position_bias=positions == 2, num_labels=dice.choice((2, 5, 150)), auxiliary_channels=4,
        use_auxiliary_head=dice.random() < 0.7, auxiliary_num_convs=dice.choice((1, 2)),
    )  # fmt: skip


def randomise(model):
    """Random parameters, and running statistics as training leaves them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)


def check(xtask, number, options, root):
    """The distances of our logits and of transformers' of what we write; raises ValueError where something disagrees."""
    torch.manual_seed(number)
    model = BeitForSemanticSegmentation(BeitConfig(**options)).eval()
    randomise(model)
    original = root / "original"
    model.save_pretrained(original)
    inputs = dict(pixel_values=torch.randn(2, 3, options["image_size"], options["image_size"]))
    want = logits_of(model, inputs)
    ours = xtask.infer(original, inputs)["logits"]
    found = [distance(ours, want)]
    for layout, name in LAYOUTS.items():
        there = root / name
        xtask.convert(original, there, layout.split("-")[0])
        if not torch.equal(xtask.infer(there, inputs)["logits"], ours):
            raise ValueError(f"our logits change by {layout}")
        if layout == "hf":
            back = BeitForSemanticSegmentation.from_pretrained(there, dtype=torch.float32).eval()
            found.append(distance(logits_of(back, inputs), want))
    if max(found) > ALLOWED:
        raise ValueError(f"logits differ by {max(found):.1e}")
    return found


def main():
    """Prints a row a configuration; exits with 1 if any disagreed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xtask", default=CARGO, help="our command line (default: %(default)s)")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    xtask, dice, failed = Tapped(options.xtask), random.Random(options.seed), 0
    print_row(WIDTHS, "", "ours", "transformers", "result")
    for number in range(options.count):
        drawn = configuration(dice)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                found = [f"{x:.1e}" for x in check(xtask, number, drawn, pathlib.Path(scratch))]
                result = "pass"
            except (RuntimeError, ValueError, KeyError) as problem:
                found, result, failed = ["-"] * 2, f"FAIL: {problem} {drawn}", failed + 1
        print_row(WIDTHS, number, *found, result)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
