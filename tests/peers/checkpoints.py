"""Folders of checkpoints: what `make_checkpoints.py` writes and the other scripts read.

ROOT/checkpoints.json lists them. ROOT/NAME/ holds one checkpoint, as its peer wrote it, and
io.safetensors with inputs and expected outputs where there are any.
"""

import argparse
import dataclasses
import fnmatch
import json
import pathlib
import shlex
import subprocess
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

CARGO = "cargo run --release -q -p xtask --"


@dataclasses.dataclass
class Checkpoint:
    """`path`: the folder or file to load. `eps`: of the peer's LayerNorms."""

    name: str
    path: pathlib.Path
    peer: str
    layout: str
    task: str
    eps: float

    @property
    def io(self):
        """The file of inputs and expected outputs; None for weights that only travel."""
        file = self.path.parent / "io.safetensors"
        return load_file(file) if file.exists() else None

    @property
    def features(self):
        """The file of inputs and of what a model without a head makes of them; None of others."""
        file = self.path.parent / "features.safetensors"
        return load_file(file) if file.exists() else None


def write_list(root, checkpoints):
    """Writes checkpoints.json, with paths relative to it."""
    rows = [dataclasses.asdict(c) | dict(path=str(c.path.relative_to(root))) for c in checkpoints]
    (root / "checkpoints.json").write_text(json.dumps(rows, indent=1) + "\n")


def read_list(root, only="*"):
    """The checkpoints of a folder whose names match a pattern."""
    rows = json.loads((root / "checkpoints.json").read_text())
    return [Checkpoint(**row | dict(path=root / row["path"])) for row in rows if fnmatch.fnmatch(row["name"], only)]


def logits_of(model, inputs):
    """A peer's logits in its own precision, for the tensors of io.safetensors."""
    kind = next(model.parameters()).dtype
    options = {}
    if "bool_masked_pos" in inputs:
        options["bool_masked_pos"] = inputs["bool_masked_pos"].bool()
    with torch.no_grad():
        out = model(inputs["pixel_values"].to(kind), **options)
    return getattr(out, "logits", out)


class Xtask:
    """Our command line."""

    def __init__(self, command):
        self.command = shlex.split(command)

    def run(self, *arguments):
        """Runs it; returns what it printed, or raises RuntimeError with its last line of complaint."""
        done = subprocess.run([*self.command, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
            raise RuntimeError(next((line for line in lines if line.lower().startswith("error")), lines[-1]))
        return done.stdout

    def infer(self, path, inputs):
        """The tensors that `infer` writes for these inputs."""
        with tempfile.TemporaryDirectory() as scratch:
            pixels, out = (pathlib.Path(scratch) / name for name in ("in.safetensors", "out.safetensors"))
            given = {k: inputs[k] for k in ("pixel_values", "bool_masked_pos") if k in inputs}
            if "bool_masked_pos" in given:
                given["bool_masked_pos"] = given["bool_masked_pos"].bool()
            save_file(given, pixels)
            self.run("infer", "--model", path, "--pixels", pixels, "--out", out)
            return load_file(out)

    def convert(self, source, target, layout):
        """Writes `source` to `target` in another layout."""
        self.run("weights", "convert", source, target, "--layout", layout)

    def inspect(self, path):
        """What it says about a checkpoint, parsed."""
        return json.loads(self.run("weights", "inspect", path, "--json"))


def print_row(widths, *cells):
    """One line of a table; cells beyond `widths` follow as they are."""
    print("  ".join(str(c).ljust(w) for c, w in zip(cells, (*widths, *[0] * len(cells)))).rstrip(), flush=True)


def arguments(doc):
    """The command line of the checking scripts: DIR, --xtask, --only; also quietens the peers."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--xtask", default=CARGO, help="our command line (default: %(default)s)")
    parser.add_argument("--only", default="*", help="a pattern of names, such as 'hf-*'")
    transformers.utils.logging.disable_progress_bar()
    return parser.parse_args()
