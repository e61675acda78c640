"""The golden of single operations of segmentation heads: torch.nn.functional on odd shapes, with gradients.

Maps are stored `[B, h, w, C]`. Each case is `OPERATION.CASE.TENSOR`; `dy` is what reaches the output, `dx` what reaches the input.
"""

import torch
import torch.nn.functional as F
from torch.autograd import grad

from record import Golden
from weights import normal, seeded, uniform

NAME = "segmentation-operations"
IGNORED = 255
BATCH_NORM_EPS = 1e-5
RESIZE = {
    "enlarged": ((3, 5), (7, 11)), "halved": ((8, 6), (4, 3)), "mixed": ((7, 4), (3, 9)), "doubled": ((2, 3), (4, 6)),
    "spread": ((1, 1), (3, 4)), "line": ((5, 4), (1, 6)), "same": ((3, 2), (3, 2)),
}  # fmt: skip
POOL = {
    "uneven": ((5, 7), (3, 2)), "whole": ((7, 5), (1, 1)), "even": ((6, 4), (3, 2)), "larger": ((2, 3), (6, 6)),
}  # fmt: skip
# Shapes, and where the mean of the channels is.
NORM = {"odd": ((3, 5, 7, 6), 0.3), "far": ((2, 3, 3, 5), 20.0), "few": ((3, 1, 1, 4), 0.0)}


def first(x):
    """`[B, h, w, C] -> [B, C, h, w]`"""
    return x.permute(0, 3, 1, 2)


def last(x):
    """`[B, C, h, w] -> [B, h, w, C]`"""
    return x.permute(0, 2, 3, 1)


def resized(gen):
    """Bilinear resizing, with both meanings of corners."""
    given, runs = {}, []
    for case, (old, new) in RESIZE.items():
        given |= {f"resize.{case}.x": normal(gen, (2, *old, 3)), f"resize.{case}.dy": normal(gen, (2, *new, 3))}
        runs.append((f"resize.{case}", new))

    def run(t):
        outputs = {}
        for prefix, new in runs:
            for corners, align in (("edges", False), ("centres", True)):
                x = t[f"{prefix}.x"].requires_grad_()
                y = last(F.interpolate(first(x), size=new, mode="bilinear", align_corners=align))
                outputs[f"{prefix}.y_{corners}"] = y
                outputs[f"{prefix}.dx_{corners}"] = grad(y, x, t[f"{prefix}.dy"])[0]
        return outputs

    return given, run


def pooled(gen):
    """Adaptive average pooling, and the largest of squares of a map of odd sides."""
    given = {"squares.odd.x": normal(gen, (2, 5, 7, 3)), "squares.odd.dy": normal(gen, (2, 2, 3, 3))}
    for case, (old, new) in POOL.items():
        given |= {f"pool.{case}.x": normal(gen, (2, *old, 3)), f"pool.{case}.dy": normal(gen, (2, *new, 3))}

    def run(t):
        outputs = {}
        for name in [name for name in t if name.endswith(".x")]:
            x, prefix = t[name].requires_grad_(), name.removesuffix(".x")
            new = POOL.get(prefix.removeprefix("pool."))
            pool = (lambda x: F.adaptive_avg_pool2d(x, new[1])) if new else (lambda x: F.max_pool2d(x, 2))
            outputs[f"{prefix}.y"] = y = last(pool(first(x)))
            outputs[f"{prefix}.dx"] = grad(y, x, t[f"{prefix}.dy"])[0]
        return outputs

    return given, run


def transposed(gen):
    """Transposed convolution of 2x2 pixels with stride 2."""
    prefix = "transposed.odd"
    given = {
        f"{prefix}.x": normal(gen, (2, 3, 5, 7)), f"{prefix}.dy": normal(gen, (2, 6, 10, 6)),
        f"{prefix}.weight": normal(gen, (7, 6, 2, 2)), f"{prefix}.bias": normal(gen, (6,)),
    }  # fmt: skip

    def run(t):
        x, weight, bias = (t[f"{prefix}.{name}"].requires_grad_() for name in ("x", "weight", "bias"))
        y = last(F.conv_transpose2d(first(x), weight, bias, stride=2))
        found = grad(y, (x, weight, bias), t[f"{prefix}.dy"])
        names = ("dx", "dweight", "dbias")
        return {f"{prefix}.y": y} | {f"{prefix}.{n}": g for n, g in zip(names, found)}

    return given, run


def normed(gen):
    """Batch norm by the batch and by running statistics, without and with a ReLU behind it."""
    given = {}
    for case, (shape, mean) in NORM.items():
        c = shape[-1:]
        given |= {
            f"norm.{case}.x": normal(gen, shape, 1.0, mean), f"norm.{case}.dy": normal(gen, shape),
            f"norm.{case}.weight": normal(gen, c, 0.3, 1.0), f"norm.{case}.bias": normal(gen, c, 0.3),
            f"norm.{case}.mean": normal(gen, c, 0.3, mean), f"norm.{case}.variance": uniform(gen, c, 0.5, 1.5),
        }  # fmt: skip

    def run(t):
        outputs = {}
        for prefix in {name.rsplit(".", 1)[0]: None for name in t}:
            of = lambda name: t[f"{prefix}.{name}"]
            x, weight, bias = (of(name).requires_grad_() for name in ("x", "weight", "bias"))
            mean, variance = of("mean").clone(), of("variance").clone()
            norm = lambda training: F.batch_norm(
                first(x), mean, variance, weight, bias, training=training, momentum=0.1, eps=BATCH_NORM_EPS
            )
            outputs[f"{prefix}.y_running"] = last(norm(False))
            plain = last(norm(True))
            outputs |= {f"{prefix}.mean_after": mean, f"{prefix}.variance_after": variance}
            for kind, y in (("", plain), ("_relu", torch.relu(plain))):
                found = grad(y, (x, weight, bias), of("dy"), retain_graph=True)
                outputs[f"{prefix}.y{kind}"] = y
                outputs |= {f"{prefix}.{n}{kind}": g for n, g in zip(("dx", "dweight", "dbias"), found)}
        return outputs

    return given, run


def entropies(gen):
    """Cross entropy with labels that are ignored: the mean over those that are not, and over all."""
    prefix, labels = "entropy.ignored", torch.randint(5, (23,), generator=gen)
    labels[torch.rand(23, generator=gen) < 0.3] = IGNORED
    given = {f"{prefix}.logits": normal(gen, (23, 5), 3.0), f"{prefix}.labels": labels.to(torch.uint8)}

    def run(t):
        logits = t[f"{prefix}.logits"].requires_grad_()
        rows = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
        labelled, everything = F.cross_entropy(logits, labels, ignore_index=IGNORED), rows.mean()
        return {
            f"{prefix}.labelled": labelled, f"{prefix}.dlabelled": grad(labelled, logits, retain_graph=True)[0],
            f"{prefix}.all": everything, f"{prefix}.dall": grad(everything, logits)[0],
            f"{prefix}.right": (logits.argmax(1) == labels).sum().to(logits.dtype),
        }  # fmt: skip

    return given, run


def write(root):
    """The folder; returns how far float32 is from it."""
    golden, gen = Golden(root, NAME), seeded(70)
    for family in (resized, pooled, transposed, normed, entropies):
        given, run = family(gen)
        golden.given(**given)
        copies = lambda dtype: {k: v.clone().to(dtype) if v.is_floating_point() else v for k, v in given.items()}
        golden.expect(run(copies(torch.float32)), run(copies(torch.float64)))
    return {NAME: golden.write()}
