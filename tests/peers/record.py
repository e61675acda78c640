"""Writes one golden: its inputs, its expected outputs, and how far float32 is from float64.

Every expected value is computed twice from the same float32 weights and inputs. The float64 result,
rounded once to float32, is what the file holds; the distance of the float32 result from it says how
much of a tolerance is PyTorch's own rounding.
"""

import copy

import torch
from safetensors.torch import save_file


def distance(narrow, wide):
    """Greatest |narrow - wide|, over the greatest |wide|."""
    scale = wide.abs().max().item()
    return (narrow.double() - wide).abs().max().item() / (scale if scale else 1.0)


def in_both(model, run):
    """Runs `run` on a float32 and on a float64 copy; returns both dictionaries of tensors."""
    return run(copy.deepcopy(model)), run(copy.deepcopy(model).double())


class Golden:
    """One golden folder while it is being written."""

    def __init__(self, root, name):
        self.folder = root / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tensors = {}
        self.rounding = {}

    def given(self, **tensors):
        """Adds inputs, as they are (booleans as bytes)."""
        for name, tensor in tensors.items():
            tensor = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor
            self.tensors[name] = tensor.detach().clone().contiguous()

    def expect(self, narrow, wide):
        """Adds outputs: the float64 value as float32, and what float32 got instead."""
        assert narrow.keys() == wide.keys()
        for name, value in wide.items():
            assert narrow[name].dtype == torch.float32 and value.dtype == torch.float64, name
            value = value.detach().reshape(value.shape or (1,))
            got = narrow[name].detach().reshape(value.shape)
            self.tensors[name] = value.float().contiguous()
            self.rounding[name] = distance(got, value)

    def write(self):
        """Writes io.safetensors; returns the greatest rounding of each kind of output."""
        save_file(self.tensors, self.folder / "io.safetensors")
        kinds = {}
        for name, value in self.rounding.items():
            kind = name.split(".")[0]
            kinds[kind] = max(kinds.get(kind, 0.0), value)
        return {kind: float(f"{value:.2e}") for kind, value in kinds.items()}
