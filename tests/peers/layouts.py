"""One checkpoint under the names of its authors, whoever wrote it.

transformers, timm, unilm and OpenAI keep the same tensors under different names. `canonical` brings
each to one form, unilm's names without index buffers (OpenAI's names for the dVAE), so that two
checkpoints hold the same weights exactly if their canonical forms are equal.
"""

import json
import re

import torch
from safetensors.torch import load_file

import dalle_modules  # Pickled modules name its classes.  # noqa: F401

# From the names that transformers writes to unilm's, applied in this order.
HF_TO_UNILM = (
    (r"^beit\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^beit\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^beit\.embeddings\.", ""),
    (r"^beit\.encoder\.relative_position_bias\.", "rel_pos_bias."),
    (r"^beit\.encoder\.layer\.", "blocks."),
    (r"\.attention\.attention\.relative_position_bias\.", ".attn."),
    (r"\.attention\.attention\.query\.bias$", ".attn.q_bias"),
    (r"\.attention\.attention\.value\.bias$", ".attn.v_bias"),
    (r"\.attention\.attention\.(query|key|value)\.weight$", r".attn.qkv.weight.\1"),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.lambda_([12])$", r".gamma_\1"),
    (r"^beit\.pooler\.layernorm\.", "fc_norm."),
    (r"^(beit\.)?layernorm\.", "norm."),
    (r"^classifier\.", "head."),
    (r"^(decode|auxiliary)_head\.classifier\.", r"\1_head.conv_seg."),
)
FLAVA_TO_OPENAI = ((r"\.group\.", "."), (r"\.path\.", "."), (r"\.weight$", ".w"), (r"\.bias$", ".b"))
INDEX = "relative_position_index"
TABLE = "relative_position_bias_table"


def rename(tensors, rules):
    """Applies every rule of `rules` to every name; two tensors may not get the same one."""
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        assert name not in renamed, name
        renamed[name] = tensor
    return renamed


def fused(tensors):
    """Stacks the query, key and value weights of each block into one."""
    whole = {k: v for k, v in tensors.items() if ".qkv.weight." not in k}
    for name in {k.rsplit(".", 1)[0] for k in tensors.keys() - whole.keys()}:
        whole[name] = torch.cat([tensors[f"{name}.{part}"] for part in ("query", "key", "value")])
    return whole


def as_beit(tensors):
    """The same under BEiT's name: data2vec's vision model is BEiT under another."""
    return {("beit." + k.removeprefix("data2vec_vision.") if k.startswith("data2vec_vision.") else k): v for k, v in tensors.items()}


def canonical(tensors):
    """The tensors of any layout under their authors' names, without index buffers."""
    tensors = as_beit({k: v for k, v in tensors.items() if INDEX not in k})
    if any(".res_path.path." in k for k in tensors):
        return rename(tensors, FLAVA_TO_OPENAI)
    if any(k.startswith("beit.") for k in tensors):
        tensors = fused(rename(tensors, HF_TO_UNILM))
        if any(k.startswith("decode_head.") for k in tensors):
            heads = ("decode_head.", "auxiliary_head.")
            tensors = {k if k.startswith(heads) else f"backbone.{k}": v for k, v in tensors.items()}
    return tensors


def relative_position_index(window):
    """The int64 index [N+1, N+1] into a table of a square window of `window` patches."""
    span = 2 * window - 1
    row, col = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    row, col = row.flatten(), col.flatten()
    index = torch.empty(window**2 + 1, window**2 + 1, dtype=torch.int64)
    index[1:, 1:] = (row[:, None] - row + window - 1) * span + col[:, None] - col + window - 1
    # To the tokens from [CLS], from the tokens to [CLS], and [CLS] to itself: the last three rows.
    index[0, :], index[:, 0], index[0, 0] = span**2, span**2 + 1, span**2 + 2
    return index


def with_index(tensors):
    """Adds the index buffer that unilm and transformers 4 keep beside each table."""
    whole = dict(tensors)
    for name, table in tensors.items():
        if name.endswith(TABLE):
            window = (int((table.shape[0] - 3) ** 0.5) + 1) // 2
            whole[name.replace(TABLE, INDEX)] = relative_position_index(window)
    return whole


def read_tensors(path):
    """Every tensor of a folder or a file that a peer or the command line wrote."""
    if path.is_dir():
        index = path / "model.safetensors.index.json"
        names = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else ["model.safetensors"]
        files = [path / n for n in names] if (path / min(names)).exists() else [path / "pytorch_model.bin"]
        return {k: v for file in files for k, v in read_tensors(file).items()}
    if path.suffix == ".safetensors":
        return load_file(path)
    # Ours to trust: make_checkpoints.py wrote it, with an argparse.Namespace or whole modules inside.
    stored = torch.load(path, map_location="cpu", weights_only=False)
    if isinstance(stored, torch.nn.Module):
        return dict(stored.state_dict())
    for key in ("model", "module", "state_dict"):
        stored = stored.get(key, stored)
    return stored
