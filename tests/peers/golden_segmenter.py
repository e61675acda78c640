"""Goldens of semantic segmentation: transformers' UPerNet, and SETR-PUP after mmsegmentation.

Logits are stored `[B, height, width, V]`. What is learned and the running statistics are in the peer's own file.
"""

import copy
import json

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import BeitConfig, BeitForSemanticSegmentation

from golden_models import check_gradient, disk_names
from record import Golden, in_both
from setr_pup import SetrPup
from weights import fill, normal, pictures, seeded, uniform, vit_tensor

IGNORED = 255
AUXILIARY_WEIGHT = 0.4
# Steps that change losses by hundredths, and so running statistics by far more than rounding.
STEPS, RATE = 3, 0.3
# A batch norm takes these away again, behind a 1x1 convolution of two of them: their gradients are zero, where PyTorch has rounding.
NORMED = ("fpn.fpn1.conv_transpose1.bias", "fpn.fpn1.conv_transpose2.bias", "fpn.fpn2.bias")
# Of the central difference: norms over three elements bend more than those of the other goldens.
SLOPE = 1e-6


@torch.no_grad()
def fill_running(model, seed):
    """Running statistics that show, unlike means of 0 and variances of 1."""
    gen = seeded(seed)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(normal(gen, buffer.shape, 0.3))
        elif name.endswith("running_var"):
            buffer.copy_(uniform(gen, buffer.shape, 0.5, 1.5))
    return model


def running(model):
    """The running statistics by name."""
    return {name: b for name, b in model.named_buffers() if "running_" in name}


def labels(gen, guess, classes):
    """Labels [B, h, w]: a tenth is ignored, a third of the others is the model's own guess, the rest is random."""
    drawn = torch.randint(classes, guess.shape, generator=gen)
    chance = torch.rand(guess.shape, generator=gen)
    drawn = torch.where(chance < 0.4, guess, drawn)
    # The first picture has more of them than the others, so that a mean by picture is another.
    drawn[0, : guess.shape[1] // 3] = IGNORED
    return torch.where(chance < 0.1, IGNORED, drawn)


def last(logits):
    """`[B, V, h, w] -> [B, h, w, V]`"""
    return logits.permute(0, 2, 3, 1)


def enlarged(logits, target):
    """Logits in the size of the labels."""
    return F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)


class Upernet:
    """How transformers computes logits and the loss."""

    def __init__(self, pixels, target):
        self.pixels, self.target = pixels, target

    def __call__(self, model):
        """All logits, and the loss."""
        logits = []
        hook = lambda _module, _inputs, output: logits.append(output)
        handle = model.auxiliary_head.register_forward_hook(hook) if model.auxiliary_head else None
        out = model(self.pixels.to(model.dtype), labels=self.target.long())
        if handle:
            handle.remove()
        return [out.logits] + logits, out.loss


class Pup:
    """How mmsegmentation computes logits and the loss; `over_all` is its version 0.11."""

    def __init__(self, pixels, target, keep, over_all=False):
        self.pixels, self.target, self.keep, self.over_all = pixels, target, keep, over_all

    def loss(self, logits):
        """The cross entropy of one head."""
        args = dict(ignore_index=IGNORED, reduction="none" if self.over_all else "mean")
        return F.cross_entropy(enlarged(logits, self.target), self.target.long(), **args).mean()

    def __call__(self, model):
        """All logits, and the weighed sum of the losses."""
        dtype = model.decode_head.conv_seg.weight.dtype
        keep = [factors.to(dtype) for factors in self.keep] if model.training else ()
        logits = model(self.pixels.to(dtype), keep)
        losses = [self.loss(each) for each in logits]
        return logits, losses[0] + AUXILIARY_WEIGHT * sum(losses[1:])


def gradients(model, names):
    """Of every parameter, zero where nothing reads it, under its name on disk."""
    for name, p in model.named_parameters():
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        if name in NORMED:
            assert p.grad.abs().max() < 1e-6, "rounding alone"
            p.grad.zero_()
    return {f"grad.{names[name]}": p.grad.clone() for name, p in model.named_parameters()}


def eval_outputs(model, run):
    """Logits by running statistics, and the pixels that are right."""
    with torch.no_grad():
        logits, _ = run(model.eval())
    right = (enlarged(logits[0], run.target).argmax(1) == run.target).sum()
    outputs = dict(logits=last(logits[0]), right=right.to(logits[0].dtype))
    return outputs | ({"auxiliary_logits": last(logits[1])} if len(logits) > 1 else {})


def train_outputs(model, names, run):
    """Logits by the statistics of the batch, the loss, all gradients."""
    model = copy.deepcopy(model).train()
    logits, loss = run(model)
    loss.backward()
    outputs = dict(train_logits=last(logits[0]), loss=loss) | gradients(model, names)
    if loss.dtype == torch.float64:
        check_gradient(model, lambda: run(model)[1], allowed=SLOPE)
    return outputs


def step_outputs(model, names, run):
    """Losses of steps of plain SGD, and the running statistics after them."""
    model, losses = copy.deepcopy(model).train(), []
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        _, loss = run(model)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    outputs = {f"running.{names[name]}": b for name, b in running(model).items()}
    return outputs | dict(losses=torch.stack(losses), rate=torch.tensor([RATE], dtype=losses[0].dtype))


def write_outputs(golden, model, names, run, more=lambda _model: {}):
    """Computes everything in both precisions and writes the folder."""
    everything = lambda m: (
        eval_outputs(m, run) | train_outputs(m, names, run) | step_outputs(m, names, run) | more(m)
    )
    golden.expect(*in_both(model, everything))
    return golden.write()


def guess(model, run):
    """The model's own labels in training, in the size of the target."""
    with torch.no_grad():
        return enlarged(run(copy.deepcopy(model).train())[0][0], run.target).argmax(1)


def upernet_config(**options):
    """A tiny BeitConfig of width 6."""
    return BeitConfig(
        hidden_size=6, num_attention_heads=2, intermediate_size=14, num_labels=5, drop_path_rate=0.0,
        auxiliary_channels=7, **options,
    )  # fmt: skip


def upernet_golden(root, name, seed, count=3, **options):
    """One folder of BeitForSemanticSegmentation, as transformers writes it."""
    golden, gen = Golden(root, name), seeded(seed + 100)
    model = fill_running(fill(BeitForSemanticSegmentation(upernet_config(**options)), vit_tensor, seed), seed)
    model.save_pretrained(golden.folder)
    names = disk_names(model, golden.folder)
    size = options["image_size"]
    # Pictures in half precision, which both sides read exactly.
    pixels = torch.stack([p[:, : size[0], : size[1]] for p in pictures(gen, count, max(size))]).half()
    run = Upernet(pixels, torch.zeros(count, *size, dtype=torch.uint8))
    run.target = labels(gen, guess(model, run), model.config.num_labels).to(torch.uint8)
    golden.given(pixel_values=pixels, labels=run.target)
    return write_outputs(golden, model, names, run)


def keep_factors(gen, heads, count, channels, dropped=0.3):
    """Factors of Dropout2d, `[count, channels]` for each head."""
    drawn = torch.rand(heads, count, channels, generator=gen) >= dropped
    return drawn.float() / (1 - dropped)


def all_pixels(run, names):
    """Loss and one gradient where the mean is over all pixels."""

    def outputs(model):
        model = copy.deepcopy(model).train()
        _, loss = Pup(run.pixels, run.target, run.keep, over_all=True)(model)
        loss.backward()
        name = "decode_head.conv_seg.weight"
        return {"all.loss": loss, f"all.{name}": gradients(model, names)[f"grad.{name}"]}

    return outputs


def pup_golden(root, name, seed, count=2, channels=6, classes=3, **options):
    """One folder of SETR-PUP: a state dict under mmsegmentation's names, its arguments, inputs and outputs."""
    golden, gen = Golden(root, name), seeded(seed + 100)
    model = SetrPup(channels=channels, classes=classes, **options)
    model = fill_running(fill(model, vit_tensor, seed), seed)
    names = {name: name for name, _ in [*model.named_parameters(), *model.named_buffers()]}
    kept = {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith("position_index")}
    save_file(kept, golden.folder / "model.safetensors")
    with open(golden.folder / "model_args.json", "w") as file:
        json.dump(options | dict(channels=channels, classes=classes), file, indent=2)
        file.write("\n")
    height, width = options["backbone"]["img_size"]
    pixels = pictures(gen, count, max(height, width))[:, :1, :height, :width].half()
    keep = keep_factors(gen, 4 if options["auxiliary"] else 1, count, channels)
    run = Pup(pixels, torch.zeros(count, height, width, dtype=torch.uint8), keep)
    run.target = labels(gen, guess(model, run), classes).to(torch.uint8)
    golden.given(pixel_values=pixels, labels=run.target)
    golden.given(**{f"keep.{i}": factors for i, factors in enumerate(keep)})
    return write_outputs(golden, model, names, run, all_pixels(run, names))


# `out_indices` count hidden states from the embeddings, and the class reads the one before: blocks 1, 3, 5, 9 here.
SEGMENT = dict(
    image_size=(64, 64), patch_size=16, num_hidden_layers=12, out_indices=[3, 5, 7, 11],
    use_relative_position_bias=True, layer_scale_init_value=0.1,
)  # fmt: skip
# A grid of 5 x 5, of which the smallest map has 2 x 2.
SEGMENT_SHARED = dict(
    image_size=(20, 20), patch_size=4, num_hidden_layers=5, out_indices=[2, 3, 4, 5],
    use_shared_relative_position_bias=True, layer_scale_init_value=0.1, use_auxiliary_head=False,
)  # fmt: skip
SEGMENT_PLAIN = dict(
    image_size=(32, 32), patch_size=8, num_hidden_layers=6, out_indices=[2, 3, 5, 6],
    use_absolute_position_embeddings=True, layer_scale_init_value=0.0, auxiliary_num_convs=2, pool_scales=[1, 3],
)  # fmt: skip
# A grid of 3 x 7. transformers mixes up the sides of relative tables and of positions where they differ, so it has neither.
SEGMENT_WIDE = dict(
    image_size=(24, 56), patch_size=8, num_hidden_layers=6, out_indices=[2, 4, 5, 6],
    layer_scale_init_value=0.1,
)  # fmt: skip
TINY = dict(img_size=[32, 48], patch_size=16, in_chans=1, embed_dim=8, num_heads=2, mlp_ratio=2, num_classes=0)
PUP = dict(
    backbone=TINY | dict(depth=5, use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1),
    taps=[0, 1, 2, 3], auxiliary=False,
)  # fmt: skip
PUP_AUXILIARY = dict(
    backbone=TINY | dict(depth=6, use_abs_pos_emb=True, init_values=0.1), taps=[1, 2, 3, 5], auxiliary=True,
)  # fmt: skip


def write(root):
    """All goldens of this file; returns their roundings by folder."""
    return {
        "hf-segment": upernet_golden(root, "hf-segment", 48, **SEGMENT),
        "hf-segment-shared": upernet_golden(root, "hf-segment-shared", 42, **SEGMENT_SHARED),
        "hf-segment-plain": upernet_golden(root, "hf-segment-plain", 43, **SEGMENT_PLAIN),
        "hf-segment-wide": upernet_golden(root, "hf-segment-wide", 47, **SEGMENT_WIDE),
        "setr-pup": pup_golden(root, "setr-pup", 48, **PUP),
        "setr-pup-auxiliary": pup_golden(root, "setr-pup-auxiliary", 62, **PUP_AUXILIARY),
    }
