"""Loads the unilm and OpenAI checkpoints with the authors' own classes: they must fit and agree.

    python check_authors.py DIR --unilm UNILM/beit --dall-e DALL-E

DIR is what make_checkpoints.py wrote; UNILM and DALL-E are checkouts of microsoft/unilm and openai/DALL-E
(which needs attrs and requests). The published code runs here unchanged, so this shows that the files of
make_authors.py are what that code writes. check_exports.py asks for the same names,
types and bits of what we write, so that fits the authors' classes too.
"""

import argparse
import pathlib
import sys
import warnings

import torch

from checkpoints import logits_of, print_row, read_list

# Relative to the greatest logit or to one, between float32 torch and the float64 logits of a peer.
ALLOWED = 1e-5
WIDTHS = (26,)


def unilm_shape(tensors):
    """The options of unilm's constructors that these tensors were made with."""
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    tables = [t for name, t in tensors.items() if name.endswith("relative_position_bias_table")]
    if tables:
        window = round(((tables[0].shape[0] - 3) ** 0.5 + 1) / 2)
    else:
        window = round((tensors["pos_embed"].shape[1] - 1) ** 0.5)
    return dict(
        img_size=patch * window,
        patch_size=patch,
        embed_dim=width,
        depth=sum(name.endswith("norm1.weight") for name in tensors),
        num_heads=tables[0].shape[1] if tables else width // 64,
        qkv_bias=True,
        norm_layer=lambda size: torch.nn.LayerNorm(size, eps=1e-6),
        init_values=0.1 if "blocks.0.gamma_1" in tensors else None,
        use_abs_pos_emb="pos_embed" in tensors,
        use_rel_pos_bias="blocks.0.attn.relative_position_bias_table" in tensors,
        use_shared_rel_pos_bias="rel_pos_bias.relative_position_bias_table" in tensors,
    )


def unilm_logits(checkpoint, inputs):
    """Logits of the authors' transformer after a strict load."""
    from modeling_finetune import VisionTransformer
    from modeling_pretrain import VisionTransformerForMaskedImageModeling

    stored = torch.load(checkpoint.path, weights_only=False)
    tensors = stored.get("model", stored.get("module", stored))
    if checkpoint.task == "classify":
        head = dict(num_classes=tensors["head.weight"].shape[0], use_mean_pooling="fc_norm.weight" in tensors)
        model = VisionTransformer(**head, **unilm_shape(tensors))
        model.load_state_dict(tensors, strict=True)
        return logits_of(model.eval(), inputs)
    words = tensors["lm_head.weight"].shape[0]
    model = VisionTransformerForMaskedImageModeling(vocab_size=words, **unilm_shape(tensors))
    model.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        return model.eval()(inputs["pixel_values"], inputs["bool_masked_pos"].bool(), return_all_tokens=True)


def openai_logits(checkpoint, inputs):
    """Logits of the unpickled module, which must be of the published class."""
    from dall_e import Encoder

    model = torch.load(checkpoint.path, weights_only=False)
    assert type(model) is Encoder, f"{type(model)} is not the published class"
    return logits_of(model, inputs)


def wanted(checkpoint):
    """The function that computes a checkpoint's logits; None if there are none or the file is no module."""
    if checkpoint.io is None or checkpoint.path.name == "dalle_encoder.pth":
        return None
    return {"unilm": unilm_logits, "openai": openai_logits}.get(checkpoint.peer)


def main():
    """Prints a table; exits with 1 if any logits differ. What does not load raises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--unilm", type=pathlib.Path, required=True)
    parser.add_argument("--dall-e", type=pathlib.Path, required=True)
    options = parser.parse_args()
    sys.path[:0] = [str(options.unilm), str(options.dall_e)]
    warnings.simplefilter("ignore")
    failed = 0
    for checkpoint in read_list(options.folder):
        compute = wanted(checkpoint)
        if compute:
            inputs = checkpoint.io
            want = inputs["logits"]
            error = (compute(checkpoint, inputs) - want).abs().max().item() / max(1.0, want.abs().max().item())
            failed += not error <= ALLOWED
            print_row(WIDTHS, checkpoint.name, f"{error:.2e}", "pass" if error <= ALLOWED else "FAIL")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
