"""Writes the goldens of PyTorch weight files: `python torch_goldens.py OUTDIR`, needs torch, numpy and attrs.

OUTDIR/*.pth are what torch.save writes, OUTDIR/hostile/*.pkl are pickles that must be refused, OUTDIR/expected.json
says which tensors (with the CRC-32 of their row-major bytes) and which refusals a reader finds.

`python torch_goldens.py --check FILE` loads a file as the careful do, weights_only, and prints its tensors.

Files in the legacy format name their storages by memory addresses, so these differ from run to run in a few bytes.
"""

import argparse
import builtins
import collections
import datetime
import functools
import inspect
import json
import linecache
import os
import pathlib
import pickle
import subprocess
import sys
import types
import zlib

import numpy
import torch

SEED = 20210615


def tensors_of(state):
    """What a reader should find: name, type, shape and checksum, in the order of the file."""
    return [
        {
            "name": name,
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "crc32": zlib.crc32(raw(tensor)),
        }
        for name, tensor in state.items()
    ]


def raw(tensor):
    """The elements' bytes in row-major order."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def flatten(value, prefix=""):
    """Nested dicts and lists of tensors under dotted names."""
    if isinstance(value, torch.Tensor):
        return {prefix.removesuffix("."): value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    flat = {}
    for key, item in pairs:
        flat |= flatten(item, f"{prefix}{key}.")
    return flat


# --- state dicts ---------------------------------------------------------------------------------


def small_model():
    """A few parameters of BEiT with their official names, one integer buffer among them."""
    return collections.OrderedDict(
        cls_token=torch.randn(1, 1, 4),
        **{
            "patch_embed.proj.weight": torch.randn(4, 3, 2, 2),
            "blocks.0.gamma_1": torch.randn(4),
            "blocks.0.attn.relative_position_index": torch.arange(25).view(5, 5),
        },
    )


def checkpoint():
    """What a training script leaves behind: the weights under "model", and the rest."""
    model = small_model()
    state = {0: {"step": 7, "exp_avg": torch.randn(4), "exp_avg_sq": torch.rand(4)}}
    groups = [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0], "name": None}]
    return {
        "model": model,
        "optimizer": {"state": state, "param_groups": groups},
        "epoch": 12,
        "huge": 2**80,
        "scaler": {},
        "args": argparse.Namespace(lr=1e-3, output=pathlib.PurePosixPath("out"), device=torch.device("cpu")),
        "numpy": [numpy.float64(0.5), numpy.arange(3)],
        "when": [datetime.datetime(2021, 6, 15), collections.defaultdict(list, loss=[1.0])],
        "best": {"acc": [81.25, True, None], "sizes": torch.Size([2, 3]), "names": {"a"}},
    }


def every_type():
    """One tensor of each element type."""
    return {
        "f64": torch.randn(3, dtype=torch.float64),
        "f32": torch.randn(2, 2),
        "f16": torch.randn(5).half(),
        "bf16": torch.randn(5).bfloat16(),
        "i64": torch.tensor([-1, 2**40]),
        "i32": torch.tensor([[7, -7]], dtype=torch.int32),
        "i16": torch.tensor([-300], dtype=torch.int16),
        "i8": torch.tensor([-3, 3], dtype=torch.int8),
        "u8": torch.tensor([0, 255], dtype=torch.uint8),
        "u16": torch.tensor([0, 65535], dtype=torch.uint16),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }


def views():
    """Tensors that are windows into storages which they share."""
    base = torch.randn(6, 8)
    return {
        "base": base,
        "transposed": base.t(),
        "slice": base[2:4, 1:7:2],
        "row": base[5],
        "expanded": base[0, :3].expand(4, 3),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
        "tied": base,
    }


def shared_dicts():
    """One dict under two keys, and a tensor with attributes, which takes another way through pickle."""
    model = small_model()
    marked = torch.nn.Parameter(torch.randn(3))
    marked.no_decay = True
    return {"model": model, "model_ema": model, "marked": marked}


# --- whole modules -------------------------------------------------------------------------------

UTILS = """
import attr
import math
import torch
import torch.nn as nn

@attr.s(eq=False)
class Conv2d(nn.Module):
	n_in:  int = attr.ib(validator=lambda i, a, x: x >= 1)
	n_out: int = attr.ib(validator=lambda i, a, x: x >= 1)
	kw:    int = attr.ib(validator=lambda i, a, x: x >= 1 and x % 2 == 1)

	use_float16:   bool         = attr.ib(default=True)
	device:        torch.device = attr.ib(default=torch.device('cpu'))
	requires_grad: bool         = attr.ib(default=False)

	def __attrs_post_init__(self) -> None:
		super().__init__()
		w = torch.empty((self.n_out, self.n_in, self.kw, self.kw), dtype=torch.float32,
			device=self.device, requires_grad=self.requires_grad)
		w.normal_(std=1 / math.sqrt(self.n_in * self.kw ** 2))
		b = torch.zeros((self.n_out,), dtype=torch.float32, device=self.device,
			requires_grad=self.requires_grad)
		self.w, self.b = nn.Parameter(w), nn.Parameter(b)
"""

ENCODER = """
import attr
import torch
import torch.nn as nn
from collections  import OrderedDict
from functools    import partial
from dall_e.utils import Conv2d

@attr.s(eq=False, repr=False)
class EncoderBlock(nn.Module):
	n_in:     int = attr.ib(validator=lambda i, a, x: x >= 1)
	n_out:    int = attr.ib(validator=lambda i, a, x: x >= 1 and x % 4 ==0)
	n_layers: int = attr.ib(validator=lambda i, a, x: x >= 1)

	device:        torch.device = attr.ib(default=None)
	requires_grad: bool         = attr.ib(default=False)

	def __attrs_post_init__(self) -> None:
		super().__init__()
		self.n_hid = self.n_out // 4
		self.post_gain = 1 / (self.n_layers ** 2)

		make_conv     = partial(Conv2d, device=self.device, requires_grad=self.requires_grad)
		self.id_path  = make_conv(self.n_in, self.n_out, 1) if self.n_in != self.n_out else nn.Identity()
		self.res_path = nn.Sequential(OrderedDict([
				('relu_1', nn.ReLU()),
				('conv_1', make_conv(self.n_in,  self.n_hid, 3)),
				('relu_4', nn.ReLU()),
				('conv_4', make_conv(self.n_hid, self.n_out, 1)),]))

@attr.s(eq=False, repr=False)
class Encoder(nn.Module):
	group_count:     int = 2
	n_hid:           int = attr.ib(default=4)
	n_blk_per_group: int = attr.ib(default=1)
	input_channels:  int = attr.ib(default=3)
	vocab_size:      int = attr.ib(default=16)

	device:              torch.device = attr.ib(default=torch.device('cpu'))
	requires_grad:       bool         = attr.ib(default=False)
	use_mixed_precision: bool         = attr.ib(default=True)

	def __attrs_post_init__(self) -> None:
		super().__init__()
		n_layers  = self.group_count * self.n_blk_per_group
		make_conv = partial(Conv2d, device=self.device, requires_grad=self.requires_grad)
		make_blk  = partial(EncoderBlock, n_layers=n_layers, device=self.device,
				requires_grad=self.requires_grad)
		self.blocks = nn.Sequential(OrderedDict([
			('input', make_conv(self.input_channels, 1 * self.n_hid, 3)),
			('group_1', nn.Sequential(OrderedDict([
				('block_1', make_blk(1 * self.n_hid, 1 * self.n_hid)),
				('pool', nn.MaxPool2d(kernel_size=2)),
			]))),
			('group_2', nn.Sequential(OrderedDict([
				('block_1', make_blk(1 * self.n_hid, 2 * self.n_hid)),
				('up', nn.Upsample(scale_factor=2, mode='nearest')),
			]))),
			('output', nn.Sequential(OrderedDict([
				('relu', nn.ReLU()),
				('conv', make_conv(2 * self.n_hid, self.vocab_size, 1, use_float16=False)),
			]))),
		]))
"""


def short_source(cls):
    """The legacy format saves the classes' source; that of torch itself is shortened, with a path that names no machine."""
    lines, number, file = inspect.getsourcelines(cls)[0], 1, inspect.getsourcefile(cls)
    return (lines, number, file) if cls.__module__.startswith("dall_e") else (lines[:1], number, f"{cls.__module__}.py")


def dall_e():
    """A small model of the classes of openai/DALL-E (MIT licence), under their module names."""
    package = types.ModuleType("dall_e")
    package.__path__ = []
    sys.modules["dall_e"] = package
    for name, source in (("dall_e.utils", UTILS), ("dall_e.encoder", ENCODER)):
        module = types.ModuleType(name)
        file = module.__file__ = name.replace(".", "/") + ".py"
        # Where inspect finds the source.
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        sys.modules[name] = module
        exec(compile(source, file, "exec"), module.__dict__)
    model = sys.modules["dall_e.encoder"].Encoder()
    # What a state dict leaves out although the module has it.
    model.register_buffer("scratch", torch.ones(2), persistent=False)
    model.register_buffer("seen", torch.tensor(3))
    model.make_conv = functools.partial(sys.modules["dall_e.utils"].Conv2d, kw=3)
    return model


# --- hostile pickles -----------------------------------------------------------------------------


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def line(*parts):
    """Opcodes spelled by hand, for ways that the pickler does not go."""
    return b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)


def hostile():
    """Name -> (pickle, what it wants to call). `true` is the command everywhere, should one be run after all."""
    def dump(value, protocol):
        return pickle.dumps(value, protocol)

    text = b"X\x04\x00\x00\x00true"
    state = b"}X\x0c\x00\x00\x00__setstate__"
    return {
        "reduce_protocol_0": (dump(Calls(os.system, "true"), 0), "posix.system"),
        "reduce_protocol_2": (dump({"model": [Calls(os.system, "true")]}, 2), "posix.system"),
        "stack_global": (dump(Calls(os.system, "true"), 4), "posix.system"),
        "eval": (dump(Calls(builtins.eval, "1"), 2), "__builtin__.eval"),
        "getattr": (dump(Calls(getattr, (), "count"), 4), "builtins.getattr"),
        "popen": (dump(Calls(subprocess.Popen, ["true"]), 4), "subprocess.Popen"),
        "torch_load": (dump(Calls(torch.load, "x.pth"), 2), "torch.serialization.load"),
        "load_from_bytes": (dump(Calls(torch.storage._load_from_bytes, b""), 2), "torch.storage._load_from_bytes"),
        "foreign_call": (dump(Calls(numpy.load, "x.npy"), 2), "numpy.load"),
        "newobj": (line(b"\x80\x02cos\nsystem\n", text, b"\x85\x81."), "os.system"),
        "newobj_foreign": (line(b"\x80\x02cevil.code\nRun\n", text, b"\x85\x81."), "evil.code.Run"),
        "newobj_ex": (line(b"\x80\x04cevil.code\nRun\n", text, b"\x85}\x92."), "evil.code.Run"),
        "newobj_ex_keywords": (line(b"\x80\x04cevil.code\nRun\n)}", text, b"Ns\x92."), "evil.code.Run"),
        "inst": (line(b"(", text, b"ios\nsystem\n."), "os.system"),
        "inst_foreign": (line(b"(", text, b"ievil.code\nrun\n."), "evil.code.run"),
        "obj": (line(b"(cevil.code\nrun\n", text, b"o."), "evil.code.run"),
        "build_setstate": (line(b"\x80\x02cevil\nThing\n)\x81", state, b"cevil\nrun\nsb", text, b"b."), "evil.run"),
        "build_global": (line(b"\x80\x02ctorch.nn.modules.linear\nLinear\n}b."), "torch.nn.modules.linear.Linear"),
        "ext1": (line(b"\x80\x02\x82\x05)R."), "copyreg extension 5"),
        "ext2": (line(b"\x80\x02\x83\x05\x01)R."), "copyreg extension 261"),
        "ext4": (line(b"\x80\x02\x84\x05\x00\x01\x00)R."), "copyreg extension 65541"),
        "dotted_name": (line(b"\x80\x04\x8c\x08torch.nn\x8c\x09os.system\x93", text, b"\x85R."), "torch.nn.os.system"),
        "partial_called": (
            line(b"\x80\x02cfunctools\npartial\ncevil\nrun\n\x85R", text, b"\x85R."),
            "an object of functools.partial",
        ),
        "reconstructor": (
            line(b"\x80\x02ccopy_reg\n_reconstructor\ncevil\nThing\ncevil\nBase\nN\x87R."),
            "copy_reg._reconstructor",
        ),
        "rebuild_from_type": (
            line(b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cevil\nrun\nN)NtR."),
            "evil.run",
        ),
        "popped": (line(b"\x80\x02cos\nsystem\n", text, b"\x85R0}."), "os.system"),
        "memoised": (line(b"\x80\x02cevil\nrun\nq\x000h\x00", text, b"\x85R."), "evil.run"),
    }


# -------------------------------------------------------------------------------------------------


def write(outdir):
    """All files and what is to be found in them."""
    torch.manual_seed(SEED)
    (outdir / "hostile").mkdir(parents=True, exist_ok=True)
    expected = {"files": {}, "hostile": {}}

    def save(name, value, state, **options):
        torch.save(value, outdir / f"{name}.pth", **options)
        expected["files"][name] = tensors_of(state)

    legacy = {"_use_new_zipfile_serialization": False}
    torch.serialization.get_source_lines_and_file = short_source
    nested, typed, strided, shared, encoder = checkpoint(), every_type(), views(), shared_dicts(), dall_e()
    old = {name: tensor for name, tensor in typed.items() if name != "u16"}
    save("checkpoint", nested, flatten(nested))
    save("checkpoint_legacy", nested, flatten(nested), **legacy)
    save("types", typed, typed)
    save("types_legacy", old, old, **legacy)
    save("types_protocol_4", typed, typed, pickle_protocol=4)
    halves = {name: tensor.half() for name, tensor in small_model().items() if tensor.is_floating_point()}
    brains = {name: tensor.bfloat16() for name, tensor in halves.items()}
    save("half", halves, halves)
    save("bfloat16", brains, brains)
    save("views", strided, strided)
    save("views_legacy", strided, strided, **legacy)
    save("shared", shared, flatten(shared))
    save("encoder", encoder, encoder.state_dict())
    save("encoder_legacy", encoder, encoder.state_dict(), **legacy)
    for name, (data, calls) in hostile().items():
        (outdir / "hostile" / f"{name}.pkl").write_bytes(data)
        expected["hostile"][name] = calls
    (outdir / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def check(path):
    """Loads a file and prints what is in it."""
    for name, tensor in flatten(torch.load(path, weights_only=True)).items():
        print(name, tensor.dtype, list(tensor.shape), zlib.crc32(raw(tensor)))


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        write(pathlib.Path(sys.argv[1]))
