"""Position parameters resized by the peers, for crates/beit-weights/tests/resize.rs.

Usage: python resize_tables.py {geometric,peers} ../../crates/beit-weights/tests/goldens/resize

`geometric` needs scipy < 1.14 (made with 1.10.1 and numpy 1.26.4, as no later scipy has interp2d) and writes
geometric.safetensors; `peers` needs requirements.txt and writes timm, transformers, bicubic and antialiased. In each file
HxW-HxW.from is a random source (float32) and HxW-HxW.to what it becomes: computed in float64, rounded once to float32.
What the peers' own float32 gives is measured and printed.
"""

import pathlib
import sys
import warnings

import numpy as np

# Random values are the hardest case: neighbours differ as much as the values are great.
SEED = 20


def name(source, target):
    return "-".join(f"{height}x{width}" for height, width in (source, target))


def random(index, *shape):
    """A source; the legacy generator gives the same numbers in all versions of numpy."""
    return np.random.RandomState(SEED + index).standard_normal(shape).astype(np.float32)


def table(index, window, heads):
    rows = (2 * window[0] - 1) * (2 * window[1] - 1) + 3
    return random(index, rows, heads)


# The geometric sequence of unilm, written anew


def sequence(from_, to):
    """Learned offsets, spread so that they reach `to // 2`. An equal axis stays as it is."""
    if from_ == to:
        return np.arange(from_) - from_ // 2
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        q = (low + high) / 2.0
        if (1.0 - q ** (from_ // 2)) / (1.0 - q) > to // 2:
            high = q
        else:
            low = q
    distances = np.cumsum([q**k for k in range(from_ // 2)])
    return np.concatenate([-distances[::-1], [0.0], distances])


def geometric(source, window, target):
    """scipy's cubic spline through the learned offsets, head by head.

    unilm refuses windows that are not square: there each axis has its own sequence.
    """
    from scipy.interpolate import interp2d

    (height, width), (new_height, new_width) = ([2 * n - 1 for n in w] for w in (window, target))
    y, x = sequence(height, new_height), sequence(width, new_width)
    new_y, new_x = (np.arange(n) - n // 2 for n in (new_height, new_width))
    grids = source[:-3].reshape(height, width, -1)
    heads = [interp2d(x, y, grids[..., i], kind="cubic")(new_x, new_y) for i in range(grids.shape[-1])]
    return np.concatenate([np.stack(heads, -1).reshape(-1, len(heads)), source[-3:]])


GEOMETRIC = [
    ((14, 14), (24, 24), 2),
    ((14, 14), (32, 32), 2),
    ((14, 14), (7, 7), 3),
    ((24, 24), (32, 32), 2),
    ((7, 7), (14, 14), 3),
    ((4, 4), (8, 8), 3),
    ((3, 3), (9, 9), 2),
    ((10, 10), (13, 17), 2),
    ((10, 10), (10, 14), 2),
    ((6, 10), (12, 9), 2),
]


def write_geometric(folder):
    from safetensors.numpy import save_file

    tensors = {}
    for index, (window, target, heads) in enumerate(GEOMETRIC):
        source = table(index, window, heads)
        tensors[f"{name(window, target)}.from"] = source
        tensors[f"{name(window, target)}.to"] = geometric(source, window, target).astype(np.float32)
    save_file(tensors, folder / "geometric.safetensors")


# timm and transformers, their own code


def timm_table(source, window, target):
    """A square source is found by timm itself, as when it loads a checkpoint."""
    from timm.layers import resize_rel_pos_bias_table

    shape = ((2 * target[0] - 1) * (2 * target[1] - 1) + 3, source.shape[1])
    old = None if window[0] == window[1] else window
    return resize_rel_pos_bias_table(source, target, shape, old_window_size=old)


def transformers_table(source, window, target):
    """The model never shows its resized table: read back from the bias of all pairs of tokens."""
    import torch
    from transformers import BeitConfig
    from transformers.models.beit.modeling_beit import BeitRelativePositionBias

    heads = source.shape[1]
    config = BeitConfig(image_size=16 * window[0], patch_size=16, num_attention_heads=heads, hidden_size=heads)
    module = BeitRelativePositionBias(config).to(source.dtype)
    module.relative_position_bias_table = torch.nn.Parameter(source, requires_grad=False)
    bias = module(target)[0].permute(1, 2, 0).reshape(-1, heads)
    index = module.generate_relative_position_index(target).flatten().long()
    resized = torch.full((int(index.max()) + 1, heads), torch.nan, dtype=source.dtype)
    resized[index] = bias
    return resized


def rectangular_table(source, window, target):
    """transformers would swap the height and width of such a window; this is its interpolation without that."""
    import torch

    (height, width), size = ([2 * n - 1 for n in w] for w in (window, target))
    grid = source[:-3].reshape(1, height, width, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=size, mode="bilinear")
    return torch.cat([grid.permute(0, 2, 3, 1).reshape(-1, source.shape[1]), source[-3:]])


def transformers_positions(source, window, target):
    import torch
    from transformers import BeitConfig
    from transformers.models.beit.modeling_beit import BeitEmbeddings

    sizes = dict(image_size=16 * window[0], patch_size=16, hidden_size=source.shape[-1])
    module = BeitEmbeddings(BeitConfig(**sizes, use_absolute_position_embeddings=True)).to(source.dtype)
    module.position_embeddings = torch.nn.Parameter(source, requires_grad=False)
    tokens = source.new_zeros(1, target[0] * target[1] + 1, source.shape[-1])
    return module.interpolate_pos_encoding(tokens, 16 * target[0], 16 * target[1])


def unilm_positions(source, window, target):
    """What unilm calls, torch's bicubic, on a window that is not square."""
    import torch

    grid = source[:, 1:].reshape(1, *window, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    return torch.cat([source[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def timm_positions(source, window, target):
    from timm.layers import resample_abs_pos_embed

    return resample_abs_pos_embed(source, target, old_size=window)


def in_float64(resize, source, *windows):
    """timm computes in float32 whatever it is given: here its `.float()` is `.double()`, its new tensors float64."""
    from unittest.mock import patch

    import torch

    torch.set_default_dtype(torch.float64)
    try:
        with patch.object(torch.Tensor, "float", torch.Tensor.double):
            return resize(source.double(), *windows)
    finally:
        torch.set_default_dtype(torch.float32)


TABLES = [((14, 14), (24, 24), 2), ((14, 14), (7, 7), 3), ((7, 7), (14, 14), 3), ((4, 4), (8, 8), 3)]
RECTANGLES = [((10, 10), (13, 17), 2), ((10, 10), (10, 14), 2)]
POSITIONS = [((7, 7), (14, 14), 8), ((14, 14), (24, 24), 6), ((14, 14), (7, 9), 8), ((4, 4), (4, 7), 8)]
TALL = [((6, 10), (12, 9), 2)]

PEERS = {
    "timm": [(timm_table, TABLES + RECTANGLES + TALL)],
    "transformers": [(transformers_table, TABLES + RECTANGLES), (rectangular_table, TALL)],
    "bicubic": [(transformers_positions, POSITIONS), (unilm_positions, TALL)],
    "antialiased": [(timm_positions, POSITIONS + TALL)],
}


def write_peers(folder):
    import torch
    from safetensors.torch import save_file

    for peer, groups in PEERS.items():
        tensors, rounding = {}, 0.0
        cases = [(resize, *case) for resize, cases in groups for case in cases]
        for index, (resize, window, target, columns) in enumerate(cases):
            if peer in ("timm", "transformers"):
                source = torch.from_numpy(table(index, window, columns))
            else:
                source = torch.from_numpy(random(index, 1, window[0] * window[1] + 1, columns))
            narrow, wide = resize(source, window, target), in_float64(resize, source, window, target)
            assert narrow.dtype == torch.float32 and wide.dtype == torch.float64
            rounding = max(rounding, ((narrow - wide).abs().max() / wide.abs().max()).item())
            tensors[f"{name(window, target)}.from"] = source
            tensors[f"{name(window, target)}.to"] = wide.to(torch.float32).contiguous()
        save_file(tensors, folder / f"{peer}.safetensors")
        print(f"{peer}: float32 is {rounding:.1e} from float64")


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    folder = pathlib.Path(sys.argv[2])
    {"geometric": write_geometric, "peers": write_peers}[sys.argv[1]](folder)
