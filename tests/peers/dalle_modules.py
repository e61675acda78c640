"""OpenAI's dVAE as whole modules, so that `torch.save` writes what encoder.pkl and decoder.pkl hold.

The published files are pickled module objects. A reader sees the class names `dall_e.encoder.Encoder`,
`dall_e.utils.Conv2d` and so on, and each object's attributes in the order in which they were set: the
options first, because the published classes set them before `nn.Module` does. From these classes and from the
published ones torch 2.15 writes the same pickle, opcode by opcode; `check_authors.py` loads the files into
the published ones.
"""

import sys
import types
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

GROUPS, BLOCKS = 4, 2
# One object, as in the published classes: the pickle refers back to its first occurrence.
CPU = torch.device("cpu")
STEPS = (("relu_1", "conv_1"), ("relu_2", "conv_2"), ("relu_3", "conv_3"), ("relu_4", "conv_4"))


def published_as(module):
    """Makes a class known as one of `module`, which need not be installed."""

    def publish(cls):
        package = sys.modules.setdefault(module, types.ModuleType(module))
        sys.modules.setdefault("dall_e", types.ModuleType("dall_e"))
        package.__file__ = __file__
        setattr(package, cls.__name__, cls)
        cls.__module__ = module
        return cls

    return publish


def set_options(module, **options):
    """Sets plain attributes, then initialises the module around them."""
    for name, value in options.items():
        setattr(module, name, value)
    nn.Module.__init__(module)


@published_as("dall_e.utils")
class Conv2d(nn.Module):
    """A zero-padded stride-1 convolution with parameters named `w` and `b`."""

    def __init__(self, n_in, n_out, kw, use_float16=True):
        set_options(self, n_in=n_in, n_out=n_out, kw=kw, use_float16=use_float16, device=CPU, requires_grad=False)
        # Trainable in spite of the option, as published.
        self.w = nn.Parameter(torch.empty(n_out, n_in, kw, kw))
        self.b = nn.Parameter(torch.empty(n_out))

    def forward(self, x):
        return F.conv2d(x, self.w, self.b, padding=self.kw // 2)


def make_block(block, n_in, n_out, kernels):
    """Fills one residual block, y = id(x) + res(x) / 64, with convolutions of these kernel sizes."""
    layers = GROUPS * BLOCKS
    set_options(block, n_in=n_in, n_out=n_out, n_layers=layers, device=CPU, requires_grad=False)
    block.n_hid = n_out // 4
    block.post_gain = 1 / layers**2
    block.id_path = Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()
    widths, path = [n_in, *[block.n_hid] * 3, n_out], OrderedDict()
    for i, (relu, conv) in enumerate(STEPS):
        path[relu], path[conv] = nn.ReLU(), Conv2d(widths[i], widths[i + 1], kernels[i])
    block.res_path = nn.Sequential(path)


def make_blocks(block, first, widths, resample, last):
    """input, four groups of two blocks each, with `resample` (name, maker) between them, output."""
    blocks = OrderedDict(input=first)
    for g, (n_in, n_out) in enumerate(zip(widths, widths[1:]), start=1):
        group = OrderedDict((f"block_{i + 1}", block(n_out if i else n_in, n_out)) for i in range(BLOCKS))
        if g < GROUPS:
            group[resample[0]] = resample[1]()
        blocks[f"group_{g}"] = nn.Sequential(group)
    blocks["output"] = nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=last))
    return nn.Sequential(blocks)


@published_as("dall_e.encoder")
class EncoderBlock(nn.Module):
    """Three convolutions of 3x3, then one of 1x1."""

    def __init__(self, n_in, n_out):
        make_block(self, n_in, n_out, (3, 3, 3, 1))

    def forward(self, x):
        return self.id_path(x) + self.post_gain * self.res_path(x)


@published_as("dall_e.encoder")
class Encoder(nn.Module):
    """Pictures [B, 3, 8h, 8w] -> logits [B, V, h, w]."""

    def __init__(self, n_hid=256, vocab_size=8192):
        options = dict(n_hid=n_hid, n_blk_per_group=BLOCKS, input_channels=3, vocab_size=vocab_size)
        set_options(self, **options, device=CPU, requires_grad=False, use_mixed_precision=True)
        widths = [n_hid, n_hid, 2 * n_hid, 4 * n_hid, 8 * n_hid]
        first, last = Conv2d(3, n_hid, 7), Conv2d(8 * n_hid, vocab_size, 1, use_float16=False)
        self.blocks = make_blocks(EncoderBlock, first, widths, ("pool", lambda: nn.MaxPool2d(kernel_size=2)), last)

    def forward(self, x):
        return self.blocks(x)


@published_as("dall_e.decoder")
class DecoderBlock(nn.Module):
    """One convolution of 1x1, then three of 3x3."""

    def __init__(self, n_in, n_out):
        make_block(self, n_in, n_out, (1, 3, 3, 3))

    def forward(self, x):
        return self.id_path(x) + self.post_gain * self.res_path(x)


@published_as("dall_e.decoder")
class Decoder(nn.Module):
    """One-hot visual tokens [B, V, h, w] -> mean and log scale [B, 6, 8h, 8w]."""

    def __init__(self, n_init=128, n_hid=256, vocab_size=8192):
        options = dict(n_init=n_init, n_hid=n_hid, n_blk_per_group=BLOCKS, output_channels=3, vocab_size=vocab_size)
        set_options(self, **options, device=CPU, requires_grad=False, use_mixed_precision=True)
        widths = [n_init, 8 * n_hid, 4 * n_hid, 2 * n_hid, n_hid]
        first, last = Conv2d(vocab_size, n_init, 1, use_float16=False), Conv2d(n_hid, 6, 1)
        upsample = ("upsample", lambda: nn.Upsample(scale_factor=2, mode="nearest"))
        self.blocks = make_blocks(DecoderBlock, first, widths, upsample, last)

    def forward(self, x):
        return self.blocks(x)


def as_torch_1(model):
    """Keeps the parts of every module in OrderedDicts, as the torch of that time did."""
    for module in model.modules():
        for name, value in vars(module).items():
            if type(value) is dict:
                vars(module)[name] = OrderedDict(value)
    return model
