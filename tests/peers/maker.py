"""Writes checkpoints of one size, each with pictures and its peer's own logits."""

import torch

from checkpoints import Checkpoint, logits_of
from golden_dvae import margin
from record import Golden, in_both
from weights import pictures, seeded, smooth_pictures

SIZES = {
    "tiny": dict(hidden_size=128, num_hidden_layers=3, num_attention_heads=4, image_size=32, patch_size=8),
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=16),
    "large": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, image_size=224, patch_size=16),
}
AUTHORS_EPS, HF_EPS = 1e-6, 1e-12
# The second best visual token is at least this far behind, so that codes can be asked to agree exactly.
MARGIN = 1e-4


class Maker:
    """The folder of one size while it is being written."""

    def __init__(self, root, size):
        self.root, self.made, self.size = root, [], size
        self.shape = SIZES[size] | dict(intermediate_size=SIZES[size]["hidden_size"] * 4, drop_path_rate=0.0)
        self.classes, self.visual_tokens = (7, 24) if size == "tiny" else (1000, 8192)

    def add(self, name, file, peer, task, write, model=None, inputs=None, eps=HF_EPS):
        """One checkpoint: `write(path)` writes it; with `model`, its logits for `inputs` go beside it."""
        path = self.root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        layout = "hf" if peer == "transformers" else peer
        self.made.append(Checkpoint(name, path, peer, layout, task, eps))
        rounding = self.expect(name, model, inputs, task) if model else "weights only"
        print(f"{name:26} {rounding}", flush=True)

    def expect(self, name, model, inputs, task):
        """Writes io.safetensors; returns how far float32 is from float64, relative to the greatest logit."""
        golden = Golden(self.root, name)
        narrow, wide = in_both(model.float(), lambda m: dict(logits=logits_of(m, inputs)))
        golden.given(**inputs)
        golden.expect(narrow, wide)
        if task == "codebook":
            assert margin(wide["logits"]) > MARGIN, margin(wide["logits"])
            golden.given(codes=wide["logits"].argmax(1))
        return golden.write()

    def pictures(self, mask=False):
        """Two pictures, the last one black; with `mask`, also different numbers of masked patches."""
        gen, side = seeded(10), self.shape["image_size"]
        inputs = dict(pixel_values=pictures(gen, 2, side))
        if mask:
            chance = torch.rand(2, (side // self.shape["patch_size"]) ** 2, generator=gen)
            inputs["bool_masked_pos"] = chance < torch.tensor([[0.4], [0.6]])
        return inputs

    def dvae_pictures(self):
        """Two pictures in (0.1, 0.9), half as large as the transformer's at the real sizes."""
        return dict(pixel_values=smooth_pictures(seeded(60), 2, 32 if self.size == "tiny" else 112))
