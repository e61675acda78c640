"""SETR-PUP after mmsegmentation's `SETRUPHead`, under its names, on the transformer of timm."""

import torch
from timm.models.beit import Beit
from torch import nn


class ConvModule(nn.Module):
    """mmcv's layer: a convolution without a bias, batch norm, ReLU."""

    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(o)

    def forward(self, x):
        """`[B, I, h, w] -> [B, O, h, w]`"""
        return torch.relu(self.bn(self.conv(x)))


class SetrUpHead(nn.Module):
    """Norm, stages of a convolution and an enlargement, scores."""

    def __init__(self, width, channels, classes, stages, scale, align_corners=False):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        enlarge = nn.Upsample(scale_factor=scale, mode="bilinear", align_corners=align_corners)
        inputs = [width] + [channels] * (stages - 1)
        self.up_convs = nn.ModuleList(nn.Sequential(ConvModule(i, channels), enlarge) for i in inputs)
        self.conv_seg = nn.Conv2d(channels, classes, 1)

    def forward(self, x, keep=None):
        """`[B, C, h, w] -> [B, V, height, width]`; `keep [B, channels]` stands for Dropout2d's draw."""
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        for up_conv in self.up_convs:
            x = up_conv(x)
        return self.conv_seg(x if keep is None else x * keep[:, :, None, None])


class SetrPup(nn.Module):
    """The head of the last tap in four stages of x2, and in training those of the others in two of x4."""

    def __init__(self, backbone, taps, channels, classes, auxiliary):
        super().__init__()
        self.backbone, self.taps = Beit(**backbone), taps
        # The taps are read as they are: what follows the last block has no parameters here.
        self.backbone.norm = self.backbone.fc_norm = self.backbone.head = nn.Identity()
        width = self.backbone.embed_dim
        self.decode_head = SetrUpHead(width, channels, classes, 4, 2)
        others = 3 if auxiliary else 0
        self.auxiliary_head = nn.ModuleList(
            SetrUpHead(width, channels, classes, 2, 4) for _ in range(others)
        )

    def forward(self, pixels, keep=()):
        """Logits `[B, V, height, width]`: of the head, then in training of each auxiliary head."""
        maps = self.backbone.forward_intermediates(pixels, indices=self.taps, intermediates_only=True)
        heads = [(self.decode_head, maps[-1])]
        if self.training:
            heads += zip(self.auxiliary_head, maps[:-1])
        keep = list(keep) or [None] * len(heads)
        return [head(x, factors) for (head, x), factors in zip(heads, keep)]
