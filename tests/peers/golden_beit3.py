"""The golden of BEiT-3's image tower: timm's logits, and every named gradient of a loss."""

import json

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from golden_models import check_gradient, gradients
from record import Golden, in_both
from weights import fill, pictures, seeded, vit_tensor

NAME = "timm-beit3"
# What `create_model` is given beside the name; 32-pixel pictures in 8-pixel patches.
ARGS = dict(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, mlp_ratio=2, num_classes=7)


def model():
    """`beit3_base_patch16_224` in small: absolute positions, norms inside both branches, one bias for q, k and v."""
    made = timm.create_model("beit3_base_patch16_224", pretrained=False, **ARGS)
    return fill(made, vit_tensor, 6)


def outputs(made, pixels, labels):
    """Logits, the cross entropy, and its gradients."""
    pixels = pixels.to(next(made.parameters()).dtype)
    made.zero_grad()
    logits = made(pixels)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    if pixels.dtype == torch.float64:
        check_gradient(made, lambda: F.cross_entropy(made(pixels), labels))
    names = {name: name for name, _ in made.named_parameters()}
    return dict(logits=logits, loss=loss) | gradients(made, names)


def write(root):
    """The folder: a state dict under timm's names, its arguments, inputs and outputs."""
    golden, made = Golden(root, NAME), model()
    save_file({k: v.contiguous() for k, v in made.state_dict().items()}, golden.folder / "model.safetensors")
    with open(golden.folder / "model_args.json", "w") as file:
        json.dump(ARGS, file, indent=2)
        file.write("\n")
    pixels, labels = pictures(seeded(16), 2), torch.tensor([5, 1])
    golden.given(pixel_values=pixels, labels=labels)
    golden.expect(*in_both(made, lambda m: outputs(m, pixels, labels)))
    return {NAME: golden.write()}
