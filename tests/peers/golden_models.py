"""Goldens of the transformer: logits, losses and every named gradient, from transformers and timm."""

import json

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm.models.beit import Beit
from transformers import BeitConfig, BeitForImageClassification, BeitForMaskedImageModeling

from record import Golden, in_both
from weights import fill, normal, pictures, seeded, vit_tensor

PATCHES = 16
VISUAL_TOKENS = 24
CLASSES = 7
MASKED_PER_PICTURE = (5, 9, 6)


def config(hidden, layers, heads, **options):
    """A tiny BeitConfig: 32-pixel pictures, 8-pixel patches, an MLP twice as wide."""
    return BeitConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * hidden,
        image_size=32,
        patch_size=8,
        vocab_size=VISUAL_TOKENS,
        drop_path_rate=0.0,
        **options,
    )


def relative_model():
    """The released MIM model in small: one shared relative table and LayerScale."""
    options = dict(use_mask_token=True, use_shared_relative_position_bias=True, layer_scale_init_value=0.1)
    return fill(BeitForMaskedImageModeling(config(32, 3, 4, **options)), vit_tensor, 1)


def plain_model():
    """The paper's MIM model in small: absolute positions, no relative table, no LayerScale."""
    options = dict(use_mask_token=True, use_absolute_position_embeddings=True, layer_scale_init_value=0.0)
    return fill(BeitForMaskedImageModeling(config(24, 2, 3, **options)), vit_tensor, 2)


def classify_model():
    """The fine-tuned classifier in small: a relative table in each layer, mean pooling, fc_norm."""
    options = dict(use_relative_position_bias=True, layer_scale_init_value=0.1, num_labels=CLASSES)
    return fill(BeitForImageClassification(config(24, 2, 3, **options)), vit_tensor, 3)


def timm_model(seed, **options):
    """A tiny timm Beit without dropout."""
    model = Beit(img_size=32, patch_size=8, mlp_ratio=2, qkv_bias=True, num_classes=CLASSES, **options)
    return fill(model, vit_tensor, seed)


def disk_names(model, folder):
    """Maps the name in memory of each parameter, and of each running statistic, to its name in `folder`, by its (unique) values.

    transformers 5 renames parameters when it writes, so the names are read from the file and not
    from a table that could be wrong. Fails unless the two sets match one to one.
    """
    saved = load_file(folder / "model.safetensors")
    saved = {k: t for k, t in saved.items() if not k.endswith("num_batches_tracked")}
    names, statistics = {}, [(k, b) for k, b in model.named_buffers() if "running_" in k]
    for name, parameter in [*model.named_parameters(), *statistics]:
        same = [k for k, t in saved.items() if t.shape == parameter.shape and torch.equal(t, parameter)]
        assert len(same) == 1, (name, same)
        names[name] = same[0]
    assert sorted(names.values()) == sorted(saved), "names on disk and in memory do not correspond"
    return names


def gradients(model, names):
    """The accumulated gradient of every parameter, under its name on disk."""
    return {f"grad.{names[name]}": p.grad.clone() for name, p in model.named_parameters()}


def check_gradient(model, loss, seed=7, step=1e-7, allowed=1e-7):
    """Asserts that the peer's own float64 gradient agrees with a central difference of its loss.

    `allowed`: truncation and cancellation were each measured near 2e-9 at this step.
    """
    gen, parameters = seeded(seed), list(model.parameters())
    directions = [normal(gen, p.shape).double() for p in parameters]
    slope = sum((p.grad * d).sum() for p, d in zip(parameters, directions)).item()
    values = []
    with torch.no_grad():
        for shift in (step, -2 * step, step):
            for p, d in zip(parameters, directions):
                p.add_(d, alpha=shift)
            values.append(loss().item())
    numeric = (values[0] - values[1]) / (2 * step)
    assert abs(slope - numeric) <= allowed * max(1.0, abs(slope)), (slope, numeric)


def masks(gen, counts=MASKED_PER_PICTURE):
    """Boolean masks [B, N] with the given numbers of masked patches."""
    rows = torch.zeros(len(counts), PATCHES, dtype=torch.bool)
    for row, count in zip(rows, counts):
        row[torch.randperm(PATCHES, generator=gen)[:count]] = True
    return rows


@torch.no_grad()
def visual_tokens(gen, model, pixels, mask):
    """Labels at the masked patches: random, but every third one is the model's own guess."""
    guess = model(pixels, bool_masked_pos=mask).logits[mask].argmax(-1)
    random = torch.randint(VISUAL_TOKENS, guess.shape, generator=gen)
    return torch.where(torch.arange(len(guess)) % 3 == 0, guess, random)


def mim_outputs(model, names, pixels, mask, labels):
    """Logits with and without masks, the loss, the accuracy and the gradients of one MIM step."""
    pixels = pixels.to(model.dtype)
    forward = lambda: model(pixels, bool_masked_pos=mask, labels=labels)
    model.zero_grad()
    out = forward()
    out.loss.backward()
    hits = (out.logits[mask].argmax(-1) == labels).to(model.dtype)
    outputs = dict(
        logits=out.logits, logits_unmasked=model(pixels).logits, loss=out.loss, accuracy=hits.mean()
    )
    outputs |= gradients(model, names)
    if model.dtype == torch.float64:
        check_gradient(model, lambda: forward().loss)
    return outputs


def mim_golden(root, name, model, seed):
    """One folder of BeitForMaskedImageModeling."""
    golden, gen = Golden(root, name), seeded(seed)
    model.save_pretrained(golden.folder)
    names = disk_names(model, golden.folder)
    pixels, mask = pictures(gen, len(MASKED_PER_PICTURE)), masks(gen)
    labels = visual_tokens(gen, model, pixels, mask)
    golden.given(pixel_values=pixels, bool_masked_pos=mask, labels=labels)
    golden.expect(*in_both(model, lambda m: mim_outputs(m, names, pixels, mask, labels)))
    return golden.write()


def classify_outputs(model, names, pixels, labels, soft):
    """Logits, smoothed and soft cross entropies with their logit gradients, all gradients of the first."""
    pixels = pixels.to(model.dtype)
    smoothed = lambda logits: F.cross_entropy(logits, labels, label_smoothing=0.1)
    model.zero_grad()
    logits = model(pixels).logits
    loss, soft_loss = smoothed(logits), F.cross_entropy(logits, soft.to(model.dtype))
    outputs = dict(logits=logits, loss=loss, soft_loss=soft_loss)
    for key, value in (("dlogits", loss), ("soft_dlogits", soft_loss)):
        outputs[key] = torch.autograd.grad(value, logits, retain_graph=True)[0]
    loss.backward()
    outputs |= gradients(model, names)
    if model.dtype == torch.float64:
        check_gradient(model, lambda: smoothed(model(pixels).logits))
    return outputs


def classify_golden(root):
    """The folder of BeitForImageClassification."""
    golden, gen, model = Golden(root, "hf-classify"), seeded(30), classify_model()
    model.save_pretrained(golden.folder)
    names = disk_names(model, golden.folder)
    pixels, labels = pictures(gen, 2), torch.tensor([2, 6])
    soft = torch.softmax(normal(gen, (2, CLASSES)), -1)
    golden.given(pixel_values=pixels, labels=labels, soft_targets=soft)
    golden.expect(*in_both(model, lambda m: classify_outputs(m, names, pixels, labels, soft)))
    return golden.write()


def timm_golden(root, name, seed, **options):
    """One folder of a timm Beit: its state dict under its own names, and its logits."""
    golden, model = Golden(root, name), timm_model(seed, **options)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, golden.folder / "model.safetensors")
    with open(golden.folder / "model_args.json", "w") as file:
        json.dump(options, file, indent=2)
        file.write("\n")
    pixels = pictures(seeded(seed + 10), 2)
    run = lambda m: dict(logits=m(pixels.to(next(m.parameters()).dtype)))
    golden.given(pixel_values=pixels)
    with torch.no_grad():
        golden.expect(*in_both(model, run))
    return golden.write()


TIMM_CLASSIFY = dict(
    embed_dim=32, depth=3, num_heads=4, use_rel_pos_bias=True, use_shared_rel_pos_bias=False,
    use_abs_pos_emb=False, init_values=0.1, global_pool="avg",
)  # fmt: skip
TIMM_PLAIN = dict(
    embed_dim=24, depth=2, num_heads=3, use_rel_pos_bias=False, use_shared_rel_pos_bias=False,
    use_abs_pos_emb=True, init_values=None, global_pool="token",
)  # fmt: skip


def write(root):
    """All goldens of this file; returns their roundings by folder."""
    return {
        "hf-mim-relative": mim_golden(root, "hf-mim-relative", relative_model(), 10),
        "hf-mim-plain": mim_golden(root, "hf-mim-plain", plain_model(), 20),
        "hf-classify": classify_golden(root),
        "timm-classify": timm_golden(root, "timm-classify", 4, **TIMM_CLASSIFY),
        "timm-plain": timm_golden(root, "timm-plain", 5, **TIMM_PLAIN),
    }
