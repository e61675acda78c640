"""Goldens of the dVAE: the encoder from transformers, the decoder and the losses in plain torch.

No package holds the decoder, so `Decoder` is written here from the published description, under the
published names of its tensors.
"""

import math

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from transformers import FlavaImageCodebook, FlavaImageCodebookConfig

from record import Golden, in_both
from weights import conv_tensor, fill, normal, seeded, smooth_pictures

VISUAL_TOKENS = 16
GRID = 4
LAYERS = 8
TAU = 0.5


class Conv(nn.Module):
    """A zero-padded stride-1 convolution with parameters named `w` and `b`."""

    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.w = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.b = nn.Parameter(torch.empty(outputs))

    def forward(self, x):
        return F.conv2d(x, self.w, self.b, padding=self.w.shape[-1] // 2)


class DecoderBlock(nn.Module):
    """y = id(x) + res(x) / LAYERS^2, where res is four convolutions, each after a ReLU."""

    def __init__(self, inputs, outputs):
        super().__init__()
        hidden = outputs // 4
        self.res_path = nn.ModuleDict(
            dict(
                conv_1=Conv(inputs, hidden, 1),
                conv_2=Conv(hidden, hidden, 3),
                conv_3=Conv(hidden, hidden, 3),
                conv_4=Conv(hidden, outputs, 3),
            )
        )
        self.id_path = Conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        y = x
        for conv in self.res_path.values():
            y = conv(F.relu(y))
        return self.id_path(x) + y / LAYERS**2


class Decoder(nn.Module):
    """Visual tokens [B, V, h, w] -> mean and log scale [B, 6, 8h, 8w]."""

    def __init__(self, visual_tokens, n_init, n_hid):
        super().__init__()
        widths = [n_init, 8 * n_hid, 4 * n_hid, 2 * n_hid, n_hid]
        self.blocks = nn.ModuleDict(dict(input=Conv(visual_tokens, n_init, 1)))
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:]), start=1):
            group = dict(block_1=DecoderBlock(inputs, outputs), block_2=DecoderBlock(outputs, outputs))
            self.blocks[f"group_{i}"] = nn.ModuleDict(group)
        self.blocks["output"] = nn.ModuleDict(dict(conv=Conv(n_hid, 6, 1)))

    def forward(self, tokens):
        x = self.blocks["input"](tokens)
        for i in range(1, 5):
            for block in self.blocks[f"group_{i}"].values():
                x = block(x)
            x = F.interpolate(x, scale_factor=2, mode="nearest") if i < 4 else x
        return self.blocks["output"]["conv"](F.relu(x))


def laplace_loss(output, pixels):
    """-log f(x | mu, b), summed, with x = 0.8 pixels + 0.1; channels are mu (3) then ln b (3)."""
    x = 0.8 * pixels + 0.1
    mu, log_b = output.chunk(2, dim=1)
    density = math.log(2) + log_b + torch.log(x * (1 - x)) + (torch.logit(x) - mu).abs() / log_b.exp()
    return density.sum()


def kl_to_uniform(logits):
    """KL(softmax(logits) || uniform) at each position: sum_v q_v (ln q_v + ln V)."""
    log_q = torch.log_softmax(logits, dim=1)
    return (log_q.exp() * (log_q + math.log(logits.shape[1]))).sum(dim=1)


def codebook_golden(root):
    """The folder of FlavaImageCodebook: logits and codes of two pictures."""
    golden = Golden(root, "flava-codebook")
    small = FlavaImageCodebookConfig(
        hidden_size=8, num_groups=4, num_blocks_per_group=2, vocab_size=VISUAL_TOKENS
    )
    pixels = smooth_pictures(seeded(60), 2)
    model = balanced(fill(FlavaImageCodebook(small), conv_tensor, 6), pixels)
    model.save_pretrained(golden.folder)
    narrow, wide = in_both(model, lambda m: dict(logits=m(pixels.to(m.dtype))))
    golden.expect(narrow, wide)
    codes = wide["logits"].argmax(1)
    assert torch.equal(codes, model.get_codebook_indices(pixels))
    golden.given(pixel_values=pixels, codes=codes)
    return golden.write() | dict(smallest_margin=round(margin(wide["logits"]), 4), codes_used=len(codes.unique()))


@torch.no_grad()
def balanced(model, pixels):
    """Shifts the last bias so that no visual token wins everywhere."""
    model.blocks.output.conv.bias -= model(pixels).mean(dim=(0, 2, 3))
    return model


def margin(logits):
    """The smallest lead of the best visual token over the second."""
    best, second = logits.topk(2, dim=1).values.unbind(1)
    return (best - second).min().item()


def reconstruction(golden, model, gen):
    """The decoder's output for one-hot codes, the logit-Laplace loss of it, and its gradient."""
    codes = torch.randint(VISUAL_TOKENS, (2, GRID, GRID), generator=gen)
    one_hot = F.one_hot(codes, VISUAL_TOKENS).permute(0, 3, 1, 2).float()
    pixels = (smooth_pictures(gen, 2) - 0.1) / 0.8
    golden.given(codes=codes, one_hot=one_hot, pixels=pixels)
    with torch.no_grad():
        golden.expect(*in_both(model, lambda m: dict(output=m(one_hot.to(next(m.parameters()).dtype)))))
    # The loss is taken at the output as stored, so that it can be tested apart from the decoder.
    stored = golden.tensors["output"]
    golden.expect(*(laplace_outputs(stored.to(kind), pixels.to(kind)) for kind in (torch.float32, torch.float64)))


def laplace_outputs(output, pixels):
    """Sum and mean of the loss over pixels and colours; the gradient of the sum."""
    output = output.clone().requires_grad_()
    loss = laplace_loss(output, pixels)
    loss.backward()
    return {"laplace.sum": loss, "laplace.mean": loss / pixels.numel(), "laplace.doutput": output.grad}


def posterior(golden, gen):
    """The relaxed sample and the KL term of a posterior, with their gradients to its logits."""
    shape = (2, VISUAL_TOKENS, GRID, GRID)
    logits, weight = normal(gen, shape, 1.5), normal(gen, shape)
    noise = -torch.log(-torch.log(torch.rand(shape, generator=gen).clamp(1e-6, 1 - 1e-6)))
    golden.given(**{"gumbel.noise": noise, "gumbel.tau": torch.tensor([TAU])})
    golden.given(**{"posterior.logits": logits, "gumbel.dsample": weight})
    run = lambda kind: posterior_outputs(logits.to(kind), noise.to(kind), weight.to(kind))
    golden.expect(run(torch.float32), run(torch.float64))


def posterior_outputs(logits, noise, weight):
    """softmax((logits + noise) / tau) pulled back from `weight`; KL per position and its sum's gradient."""
    logits = logits.clone().requires_grad_()
    sample = torch.softmax((logits + noise) / TAU, dim=1)
    kl = kl_to_uniform(logits)
    outputs = {"gumbel.sample": sample, "kl.positions": kl, "kl.sum": kl.sum()}
    outputs["gumbel.dlogits"] = torch.autograd.grad((sample * weight).sum(), logits)[0]
    outputs["kl.dlogits"] = torch.autograd.grad(kl.sum(), logits)[0]
    return outputs


@torch.no_grad()
def tamed(model):
    """Shrinks the last weight, so that the log scales stay within a few units of zero."""
    model.blocks["output"]["conv"].w.mul_(0.2)
    return model


def decoder_golden(root):
    """The folder of the decoder."""
    golden, gen = Golden(root, "dalle-decoder"), seeded(70)
    model = tamed(fill(Decoder(VISUAL_TOKENS, n_init=16, n_hid=4), conv_tensor, 8))
    save_file(model.state_dict(), golden.folder / "model.safetensors")
    reconstruction(golden, model, gen)
    posterior(golden, gen)
    return golden.write()


def write(root):
    """All goldens of this file; returns their roundings by folder."""
    return {"flava-codebook": codebook_golden(root), "dalle-decoder": decoder_golden(root)}
