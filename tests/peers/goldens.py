"""Writes every golden: `python goldens.py OUTDIR`.

OUTDIR/NAME/ holds what the peer itself saves (config.json, model.safetensors) and io.safetensors with
the inputs and the expected outputs; OUTDIR/rounding.json says how far float32 PyTorch is from them.
"""

import pathlib
import sys

import torch
import transformers

import golden_beit3
import golden_dvae
import golden_models
import golden_segmentation_ops
import golden_segmenter
import golden_training


def main(outdir):
    """Runs the parts in order; training reads the weights that models wrote."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    root, rounding = pathlib.Path(outdir), {}
    root.mkdir(parents=True, exist_ok=True)
    models = (golden_models, golden_beit3, golden_training, golden_dvae)
    for part in (*models, golden_segmenter, golden_segmentation_ops):
        rounding |= part.write(root)
    golden_training.write_json(root / "rounding.json", rounding)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
