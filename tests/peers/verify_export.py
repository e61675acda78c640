"""Loads a checkpoint folder with transformers and fails unless every tensor is where it should be.

    python verify_export.py DIR [--pixels FILE [--expect FILE]]

DIR holds config.json and model.safetensors of one of the classes in `CLASSES`. With --pixels, a
safetensors file with `pixel_values` (and `bool_masked_pos` if the model masks), the logits are
compared with `logits` of --expect (by default the same file). Exit status 0 means all agreed.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

CLASSES = ("BeitForMaskedImageModeling", "BeitForImageClassification", "FlavaImageCodebook")
# Relative to the greatest logit. Two float32 evaluations of these small models differ by 1e-6
# (rounding.json); ten times that leaves room for another order of summation and for deep models.
ALLOWED = 1e-5


def model_class(folder, also=()):
    """The transformers class that config.json names; one of `CLASSES` or of `also`."""
    names = json.loads((folder / "config.json").read_text()).get("architectures") or ["none"]
    if len(names) != 1 or names[0] not in (*CLASSES, *also):
        sys.exit(f"config.json names {names}, expected one of {(*CLASSES, *also)}")
    return getattr(transformers, names[0])


def load(folder):
    """The model of `folder`; exits on any missing, unexpected or misshapen tensor."""
    model, info = model_class(folder).from_pretrained(folder, output_loading_info=True)
    problems = {kind: sorted(map(str, found)) for kind, found in info.items() if found}
    if problems:
        sys.exit(f"from_pretrained complains: {json.dumps(problems, indent=2)}")
    return model.eval()


def check_round_trip(model, folder):
    """transformers must write back exactly the names, types and values that it read.

    from_pretrained passes over some names in silence (old index buffers, aliases); this does not.
    """
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        theirs = load_file(pathlib.Path(scratch) / "model.safetensors")
    ours = load_file(folder / "model.safetensors")
    if ours.keys() != theirs.keys():
        sys.exit(f"only here: {sorted(ours.keys() - theirs.keys())}\nonly there: {sorted(theirs.keys() - ours.keys())}")
    wrong = [n for n, t in ours.items() if t.dtype != theirs[n].dtype or not torch.equal(t, theirs[n])]
    if wrong:
        sys.exit(f"changed by loading: {wrong}")
    return len(ours)


@torch.no_grad()
def logits_of(model, inputs):
    """The model's logits for the tensors of a safetensors file."""
    if isinstance(model, transformers.FlavaImageCodebook):
        return model(inputs["pixel_values"])
    options = {}
    if "bool_masked_pos" in inputs:
        options["bool_masked_pos"] = inputs["bool_masked_pos"].bool()
    return model(inputs["pixel_values"], **options).logits


def check_logits(model, pixels, expect):
    """Compares logits; exits naming the worst element if it is out of tolerance."""
    got, want = logits_of(model, load_file(pixels)), load_file(expect)["logits"]
    if got.shape != want.shape:
        sys.exit(f"logits have shape {tuple(got.shape)}, expected {tuple(want.shape)}")
    error = (got - want).abs()
    relative = (error.max() / want.abs().max()).item()
    if not relative <= ALLOWED:
        at = tuple(int(i) for i in torch.unravel_index(error.argmax(), error.shape))
        sys.exit(f"logits{list(at)}: got {got[at]:.8e}, want {want[at]:.8e}, relative {relative:.2e} > {ALLOWED:.0e}")
    return relative


def main():
    """Parses the command line and runs the checks in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--pixels", type=pathlib.Path)
    parser.add_argument("--expect", type=pathlib.Path)
    options = parser.parse_args()
    if options.expect and not options.pixels:
        parser.error("--expect needs --pixels")
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    model = load(options.folder)
    print(f"{type(model).__name__}: {check_round_trip(model, options.folder)} tensors, none missing, none unexpected")
    if options.pixels:
        relative = check_logits(model, options.pixels, options.expect or options.pixels)
        print(f"logits: greatest relative difference {relative:.2e}, allowed {ALLOWED:.0e}")


if __name__ == "__main__":
    main()
