"""Random weights and pictures with values that no test can pass by accident.

A freshly initialised BEiT has zero biases, zero relative tables and zero tokens, so a port that
ignores one of them still agrees with its peer. Every tensor here gets values that show.
"""

import torch


def seeded(seed):
    """A generator with a fixed seed."""
    return torch.Generator().manual_seed(seed)


def normal(gen, shape, std=1.0, mean=0.0):
    """Draws N(mean, std) in float32."""
    return torch.randn(shape, generator=gen) * std + mean


def uniform(gen, shape, low=0.0, high=1.0):
    """Draws U(low, high) in float32."""
    return torch.rand(shape, generator=gen) * (high - low) + low


def vit_tensor(name, shape, gen):
    """A visible value for one transformer parameter, chosen by its name and its rank."""
    if name.endswith("relative_position_bias_table"):
        return normal(gen, shape, 0.5)
    if name.rsplit(".", 1)[-1] in ("gamma_1", "gamma_2", "lambda_1", "lambda_2"):
        return uniform(gen, shape, 0.05, 0.3)
    if name.endswith(("cls_token", "mask_token")):
        return normal(gen, shape, 1.0)
    if name.endswith(("pos_embed", "position_embeddings")):
        return normal(gen, shape, 0.3)
    if name.endswith(("projection.bias", "patch_embed.proj.bias")):
        # Small, so that a black picture gives tokens of variance 1e-4 and LayerNorm's eps shows:
        # 1e-6 against 1e-12 then moves the output far more than float32 rounding does.
        return normal(gen, shape, 0.01)
    if len(shape) == 1:
        return normal(gen, shape, 0.1, 1.0 if name.endswith("weight") else 0.0)
    return normal(gen, shape, fan_in(shape) ** -0.5)


def conv_tensor(name, shape, gen):
    """A visible value for one dVAE parameter.

    The residual branch is divided by 64, so its last convolution is made 16 times larger.
    """
    if len(shape) == 1:
        return normal(gen, shape, 0.1)
    gain = 16.0 if "conv_4" in name else 1.5
    return normal(gen, shape, gain * fan_in(shape) ** -0.5)


def fan_in(shape):
    """Inputs that one output of a Linear or Conv weight sums over."""
    return torch.Size(shape[1:]).numel()


@torch.no_grad()
def fill(model, rule, seed):
    """Overwrites every parameter of `model` by `rule(name, shape, generator)`."""
    gen = seeded(seed)
    for name, parameter in model.named_parameters():
        parameter.copy_(rule(name, tuple(parameter.shape), gen))
    return model.eval()


def pictures(gen, count, side=32):
    """Normalised pictures [count, 3, side, side], N(0, 1); the last one is black (all zero)."""
    pixels = normal(gen, (count, 3, side, side))
    pixels[-1] = 0.0
    return pixels


def smooth_pictures(gen, count, side=32):
    """Pictures in (0.1, 0.9), the range that the dVAE reads, smooth enough to give varied codes."""
    coarse = uniform(gen, (count, 3, 6, 6))
    fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    noisy = fine + normal(gen, fine.shape, 0.05)
    return 0.1 + 0.8 * noisy.clamp(0.01, 0.99)
