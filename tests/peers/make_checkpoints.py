"""Checkpoints with random weights, written by transformers, timm and torch.

    python make_checkpoints.py OUT [--size tiny|base|large]

tiny (100 MB): every layout, container and number type. base (2 GB): BEiT-base and DALL-E's dVAE in their
real sizes. large (1.2 GB): BEiT-large. Each checkpoint comes with pictures and its peer's own logits, in
io.safetensors: float64 results from the weights as stored, rounded once. Printed beside each name is how
far float32 torch is from them.
"""

import argparse
import pathlib

import timm
import transformers

import make_authors
import make_packaged
from checkpoints import write_list
from maker import SIZES, Maker


def main():
    """Writes every checkpoint of one size, then the list of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    maker = Maker(options.out, options.size)
    print(f"transformers {transformers.__version__}, timm {timm.__version__}")
    for part in (make_packaged, make_authors):
        part.make(maker)
    write_list(options.out, maker.made)


if __name__ == "__main__":
    main()
