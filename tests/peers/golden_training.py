"""Goldens of training: ten AdamW steps, the learning-rate array, the layer-decay scales."""

import json
import math

import torch

from golden_models import disk_names, masks, relative_model, visual_tokens
from record import Golden, in_both
from weights import pictures, seeded

RECIPE = dict(
    weights="hf-mim-relative", steps=10, batches=2, peak_lr=2e-2, min_lr=1e-4, warmup_steps=3,
    beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.05, clip_norm=1.5,
)  # fmt: skip


def schedule(peak, low, warmup, total):
    """Learning rate of every step: a line from 0 to `peak`, both ends in, then half a cosine to `low`."""
    rise = [peak * i / (warmup - 1) for i in range(warmup)]
    n = total - warmup
    fall = [low + 0.5 * (peak - low) * (1 + math.cos(math.pi * i / n)) for i in range(n)]
    return rise + fall


def layer_scales(layers, decay):
    """Scale of group id = 0 (tokens, positions, patches), 1..layers (blocks), layers+1 (the rest)."""
    return [decay ** (layers + 1 - i) for i in range(layers + 2)]


def is_decayed(name, tensor):
    """Weight decay falls on matrices, the mask token and relative tables, on nothing else."""
    exempt = name.endswith((".bias", "cls_token", "position_embeddings"))
    return tensor.ndim > 1 and not exempt


def optimizer(model, names):
    """AdamW with two groups, decayed and not."""
    groups = {True: [], False: []}
    for name, p in model.named_parameters():
        groups[is_decayed(names[name], p)].append(p)
    decays = ((groups[True], RECIPE["weight_decay"]), (groups[False], 0.0))
    return torch.optim.AdamW(
        [dict(params=params, weight_decay=decay) for params, decay in decays],
        lr=0.0, betas=(RECIPE["beta1"], RECIPE["beta2"]), eps=RECIPE["eps"], foreach=False,
    )  # fmt: skip


def one_step(model, adamw, lr, pixels, mask, labels):
    """Forward, backward, clip, update; returns the loss and the norm before clipping."""
    for group in adamw.param_groups:
        group["lr"] = lr
    adamw.zero_grad()
    loss = model(pixels.to(model.dtype), bool_masked_pos=mask, labels=labels).loss
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE["clip_norm"], foreach=False)
    adamw.step()
    return loss.detach(), norm.detach()


def train(model, names, batches):
    """Ten steps over the batches in turn: losses, norms, and the final parameters."""
    adamw = optimizer(model, names)
    lrs = schedule(*(RECIPE[k] for k in ("peak_lr", "min_lr", "warmup_steps", "steps")))
    results = [one_step(model, adamw, lr, *batches[i % len(batches)]) for i, lr in enumerate(lrs)]
    losses, norms = (torch.stack(column) for column in zip(*results))
    outputs = dict(losses=losses, grad_norms=norms, lrs=torch.tensor(lrs, dtype=model.dtype))
    return outputs | {f"final.{names[k]}": p.detach().clone() for k, p in model.named_parameters()}


def make_batches(model):
    """Two batches of two pictures, with different numbers of masked patches."""
    gen, batches = seeded(50), []
    for counts in ((6, 4), (3, 8)):
        pixels, mask = pictures(gen, 2), masks(gen, counts)
        batches.append((pixels, mask, visual_tokens(gen, model, pixels, mask)))
    return batches


def training_golden(root):
    """The folder of ten steps from the weights of `hf-mim-relative`."""
    golden, model = Golden(root, "train-ten-steps"), relative_model()
    names = disk_names(model, root / RECIPE["weights"])
    batches = make_batches(model)
    for i, (pixels, mask, labels) in enumerate(batches):
        golden.given(**{f"pixel_values.{i}": pixels, f"bool_masked_pos.{i}": mask, f"labels.{i}": labels})
    narrow, wide = in_both(model, lambda m: train(m, names, batches))
    golden.expect(narrow, wide)
    golden.given(losses_f32=narrow["losses"])
    clipped = int((wide["grad_norms"] > RECIPE["clip_norm"]).sum())
    assert 0 < clipped < RECIPE["steps"], wide["grad_norms"]
    write_json(golden.folder / "recipe.json", RECIPE)
    return golden.write()


def schedule_golden(root):
    """The learning rates of the paper's recipe at chosen steps, and the layer scales of a base model."""
    recipe = dict(peak_lr=1.5e-3, min_lr=1e-5, warmup_steps=6250, total_steps=500_000)
    array = schedule(*recipe.values())
    steps = [0, 1, 3125, 6248, 6249, 6250, 6251, 100_000, 250_000, 253_125, 400_000, 499_998, 499_999]
    recipe |= dict(steps=steps, lrs=[array[i] for i in steps])
    decay = dict(layers=12, decay=0.65, scales=layer_scales(12, 0.65))
    (root / "schedule").mkdir(exist_ok=True)
    write_json(root / "schedule" / "schedule.json", dict(cosine=recipe, layer_decay=decay))


def write_json(path, value):
    """Writes indented JSON with a last newline."""
    path.write_text(json.dumps(value, indent=2) + "\n")


def write(root):
    """All goldens of this file; needs `hf-mim-relative` to be written before."""
    schedule_golden(root)
    return {"train-ten-steps": training_golden(root)}
