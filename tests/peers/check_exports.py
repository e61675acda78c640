"""Converts every checkpoint to every layout with our command line and loads the result with the real packages.

    python check_exports.py DIR [--xtask CMD] [--only PATTERN]

DIR is what make_checkpoints.py wrote. A converted checkpoint must hold the same tensors bit for bit, must
load with nothing missing, unexpected or misshapen, and must give the original's logits. What transformers
wrote must come back from timm's and unilm's layouts with the same names, types and bits. Exit status 0
means that all of this held.
"""

import json
import pathlib
import sys
import tempfile

import timm
import torch
import transformers

from checkpoints import Xtask, arguments, logits_of, print_row, read_list
from layouts import INDEX, as_beit, canonical, read_tensors, with_index
from verify_export import model_class

# Relative to the greatest logit or to one: float32 torch is within 2e-6 at the real sizes.
ALLOWED = 1e-5
WIDTHS = (26, 24)
TARGETS = {
    "classify": ("hf", "timm", "unilm", "unilm-safetensors"),
    "mim": ("hf", "unilm", "unilm-safetensors"),
    "segment": ("hf", "unilm"),
    "codebook": ("hf",),
    "decoder": (),
    # Models without a head: check_checkpoints.py compares what they make of pictures.
    "features": (),
}
# transformers and the released code have no norms inside blocks and no bias of the keys.
ONLY_TIMM = ("beit3-",)
FILES = {"unilm": "checkpoint.pth", "unilm-safetensors": "checkpoint.safetensors"}


class Disagreement(Exception):
    """What a converted checkpoint does wrong."""


def require_equal(got, want):
    """The same names, types and bits."""
    if got.keys() != want.keys():
        missing, extra = sorted(want.keys() - got.keys()), sorted(got.keys() - want.keys())
        raise Disagreement(f"missing {missing[:3]}, extra {extra[:3]}")
    wrong = [n for n, t in want.items() if t.dtype != got[n].dtype or not torch.equal(t, got[n])]
    if wrong:
        first = wrong[0]
        raise Disagreement(f"{len(wrong)} tensors changed, first {first}: {want[first].dtype} -> {got[first].dtype}")


def require_logits(model, checkpoint):
    """The logits of the original, in float32; returns the greatest difference."""
    inputs = checkpoint.io
    if inputs is None:
        return "weights only"
    want = inputs["logits"]
    error = (logits_of(model.eval(), inputs) - want).abs().max().item() / max(1.0, want.abs().max().item())
    if not error <= ALLOWED:
        raise Disagreement(f"logits differ by {error:.2e}")
    return f"logits {error:.1e}"


def load_hf(folder):
    """The model of a transformers folder, in float32."""
    kind = model_class(folder, also=("BeitForSemanticSegmentation",))
    model, info = kind.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    problems = {kind: sorted(map(str, found))[:3] for kind, found in info.items() if found}
    if problems:
        raise Disagreement(f"from_pretrained: {json.dumps(problems)}")
    return model


def load_timm(folder):
    """The model of a timm folder, from its state dict, strictly; local-dir must give the same tensors."""
    config = json.loads((folder / "config.json").read_text())
    options = {k: config[k] for k in ("num_classes", "global_pool") if k in config} | config.get("model_args", {})
    model = timm.create_model(config["architecture"], pretrained=False, **options)
    model.load_state_dict(read_tensors(folder), strict=True)
    require_equal(timm.create_model(f"local-dir:{folder}", pretrained=True).state_dict(), model.state_dict())
    return model


def set_eps(model, eps):
    """Gives every LayerNorm the original's eps, which timm keeps in code and not in a file."""
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = eps
    return model


def check_hf(path, checkpoint, source):
    """Loads with `from_pretrained` and agrees."""
    return require_logits(load_hf(path), checkpoint)


def check_timm(path, checkpoint, source):
    """Loads into timm strictly and agrees."""
    return require_logits(set_eps(load_timm(path), checkpoint.eps), checkpoint)


def check_unilm(path, checkpoint, source):
    """Is a file of plain tensors with the index buffers that unilm's modules register."""
    stored = torch.load(path, weights_only=True)
    key = "state_dict" if checkpoint.task == "segment" else "model"
    require_equal(stored[key], with_index(source))
    return f"{len(source)} tensors, {len(stored[key]) - len(source)} index buffers"


def check_file(path, checkpoint, source):
    """The same in one safetensors file."""
    require_equal(read_tensors(path), with_index(source))
    return f"{len(source)} tensors"


CHECKS = {"hf": check_hf, "timm": check_timm, "unilm": check_unilm, "unilm-safetensors": check_file}


def check_export(xtask, checkpoint, target, scratch):
    """Converts to one layout and checks it; returns what to print."""
    path, source = scratch / FILES.get(target, target), canonical(read_tensors(checkpoint.path))
    xtask.convert(checkpoint.path, path, target.split("-")[0])
    require_equal(canonical(read_tensors(path)), source)
    return CHECKS[target](path, checkpoint, source)


def check_round_trip(xtask, checkpoint, target, scratch):
    """Converts to one layout and back, under the original's own names."""
    away, back = scratch / FILES.get(target, target), scratch / "back"
    xtask.convert(checkpoint.path, away, target.split("-")[0])
    xtask.convert(away, back, "hf")
    want = as_beit({k: v for k, v in read_tensors(checkpoint.path).items() if INDEX not in k})
    require_equal(read_tensors(back), want)
    return f"{len(want)} tensors, same bits"


def checks(checkpoint):
    """(what, function, target) of every check that applies to a checkpoint."""
    for target in TARGETS[checkpoint.task]:
        if checkpoint.name.startswith(ONLY_TIMM) and target != "timm":
            continue
        yield f"to {target}", check_export, target
        if checkpoint.layout == "hf" and target != "hf":
            yield f"to {target} and back", check_round_trip, target


def main():
    """Prints a table; exits with 1 if anything failed."""
    options = arguments(__doc__)
    xtask, failed = Xtask(options.xtask), 0
    transformers.utils.logging.set_verbosity_error()
    print_row(WIDTHS, "checkpoint", "converted", "result")
    for checkpoint in read_list(options.folder, options.only):
        for what, check, target in checks(checkpoint):
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    result = f"pass: {check(xtask, checkpoint, target, pathlib.Path(scratch))}"
                except (Disagreement, RuntimeError, OSError, KeyError, ValueError) as problem:
                    result, failed = f"FAIL: {' '.join(str(problem).split())[:160]}", failed + 1
            print_row(WIDTHS, checkpoint.name, what, result)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
