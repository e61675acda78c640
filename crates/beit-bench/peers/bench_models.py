"""The model in PyTorch or ONNX Runtime, timed beside ours: what `cargo xtask bench --peer` talks to.

    python bench_models.py cuda:0|cpu f32|bf16 torch|onnxruntime

A line of JSON is a question, a line of JSON the answer: {"row": "pretrain", "batch": 128, ..., "runs": 5, "seconds": 0.2} gives
{"time": seconds of one call, "how": "compiled"}. Needs torch, for onnxruntime that and onnx too, for the data pipeline torchvision. The model is written as PyTorch is fastest at it:
scaled_dot_product_attention with the position bias as its mask, autocast to bf16, channels-last convolutions, the fused AdamW, and
torch.compile where that works; the faster of compiled and plain is what is answered. What was asked last is kept, so asking again
costs its time only.
"""

import json
import sys
import time


def say(**answer):
    print(json.dumps(answer), flush=True)


try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    say(error=f"{sys.executable} has no torch; install it, or name another Python with --python")
    sys.exit(1)

DEVICE, PRECISION, ENGINE = sys.argv[1:4]
CUDA = DEVICE.startswith("cuda")


def relative_index(side):
    """[T, T] into a table of (2·side - 1)² + 3 rows, as the released code has it."""
    at = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
    difference = (at[:, :, None] - at[:, None, :]).permute(1, 2, 0) + side - 1
    rows = (2 * side - 1) ** 2
    index = torch.empty(side * side + 1, side * side + 1, dtype=torch.long)
    index[1:, 1:] = difference[..., 0] * (2 * side - 1) + difference[..., 1]
    index[0, :], index[:, 0], index[0, 0] = rows, rows + 1, rows + 2
    return index


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.gamma_1, self.gamma_2 = nn.Parameter(0.1 * torch.ones(width)), nn.Parameter(0.1 * torch.ones(width))

    def forward(self, x, bias):
        b, t, c = x.shape
        qkv_bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        qkv = functional.linear(self.norm1(x), self.qkv.weight, qkv_bias)
        q, k, v = qkv.view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        context = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        x = x + self.gamma_1 * self.proj(context.transpose(1, 2).reshape(b, t, c))
        return x + self.gamma_2 * self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Beit(nn.Module):
    """One position table for all blocks to pre-train, one a block to fine-tune."""

    def __init__(self, q, out, shared):
        super().__init__()
        width, side = q["width"], q["image"] // q["patch"]
        self.embed = nn.Conv2d(3, width, q["patch"], q["patch"])
        self.cls, self.mask_token = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 1, width))
        rows, tables = (2 * side - 1) ** 2 + 3, 1 if shared else q["depth"]
        self.tables = nn.ParameterList(nn.Parameter(0.02 * torch.randn(rows, q["heads"])) for _ in range(tables))
        self.register_buffer("index", relative_index(side))
        self.blocks = nn.ModuleList(Block(width, q["heads"], q["hidden"]) for _ in range(q["depth"]))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, out)

    def bias(self, table):
        return table[self.index].permute(2, 0, 1)[None].contiguous()

    def forward(self, images, mask=None):
        x = self.embed(images).flatten(2).transpose(1, 2)
        if mask is not None:
            x = torch.where(mask[..., None], self.mask_token.to(x.dtype), x)
        x = torch.cat((self.cls.expand(len(x), -1, -1).to(x.dtype), x), 1)
        biases = [self.bias(table) for table in self.tables]
        for i, block in enumerate(self.blocks):
            x = block(x, biases[i % len(biases)])
        if mask is None:
            return self.head(self.norm(x[:, 1:].mean(1)))
        return self.norm(x)[:, 1:]


class Encoder(nn.Module):
    """DALL-E's, by groups of residual blocks with a pooling between two of them."""

    class Residual(nn.Module):
        def __init__(self, inside, outside, gain):
            super().__init__()
            hidden, self.gain = outside // 4, gain
            self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()
            sizes = ((inside, hidden, 3), (hidden, hidden, 3), (hidden, hidden, 3), (hidden, outside, 1))
            self.convs = nn.Sequential(
                *(layer for i, o, k in sizes for layer in (nn.ReLU(), nn.Conv2d(i, o, k, padding=k // 2)))
            )

        def forward(self, x):
            return self.skip(x) + self.gain * self.convs(x)

    def __init__(self, groups, blocks, hidden, vocab):
        super().__init__()
        gain, layers, width = 1 / (groups * blocks) ** 2, [nn.Conv2d(3, hidden, 7, padding=3)], hidden
        for group in range(groups):
            if group:
                layers.append(nn.MaxPool2d(2))
            for _ in range(blocks):
                layers.append(self.Residual(width, hidden << group, gain))
                width = hidden << group
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(width, vocab, 1))

    def forward(self, pixels):
        return self.layers(pixels).argmax(1)


def autocast():
    return torch.autocast(DEVICE.split(":")[0], torch.bfloat16, enabled=PRECISION == "bf16")


def images(q):
    return torch.randn(q["batch"], 3, q["image"], q["image"], device=DEVICE)


def training(net, loss_of):
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-5, weight_decay=0.05, fused=True)

    def step():
        with autocast():
            loss = loss_of()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 3.0)
        optimiser.step()

    return step


def random(*shape):
    """In the type of activations."""
    return torch.randn(*shape, device=DEVICE, dtype=torch.bfloat16 if PRECISION == "bf16" else torch.float32)


def product(q, _):
    """A linear map, or the gradients of its weights, or those and that of its input; with a GELU after it or before it."""
    x, w, dy = random(q["m"], q["c"]), random(q["n"], q["c"]), random(q["m"], q["n"])
    bias = random(q["n"]) if q["bias"] else None

    def forward():
        return functional.linear(x, w, bias)

    def parameters():
        return dy.t() @ x, dy.sum(0) if q["bias"] else None

    return {
        "forward": forward,
        "dw": parameters,
        "dx + dw": lambda: (dy @ w, parameters()),
        "forward, gelu": lambda: functional.gelu(forward()),
        "dx with gelu + dw": lambda: (torch.ops.aten.gelu_backward(dy @ w, x), parameters()),
    }[q["part"]]


def convolution(q, _):
    net = nn.Conv2d(q["in"], q["out"], q["kernel"], padding=q["kernel"] // 2)
    x = random(q["batch"], q["in"], *q["sides"])
    net, x = (part.to(DEVICE, x.dtype, memory_format=torch.channels_last) for part in (net, x))
    return in_inference_mode(net, x)


def attention(q, compiled):
    """With the biases of queries and values and the position table, of which the backward pass has the gradients too."""
    width, heads, side = q["width"], q["heads"], q["side"]
    tokens, index = side * side + 1, relative_index(side).to(DEVICE)
    table = (0.02 * random((2 * side - 1) ** 2 + 3, heads)).requires_grad_()
    x, biases = random(q["batch"], tokens, 3 * width).requires_grad_(), random(3 * width).requires_grad_()

    def context(x, biases, table):
        parts = (x + biases).view(-1, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        mask = table[index].permute(2, 0, 1)[None].contiguous()
        return functional.scaled_dot_product_attention(*parts, attn_mask=mask).transpose(1, 2).flatten(2)

    forward = torch.compile(context) if compiled else context
    if not q["backward"]:
        return lambda: forward(x, biases, table)
    y = forward(x, biases, table)
    dy = random(*y.shape)
    return lambda: torch.autograd.grad(y, (x, biases, table), dy, retain_graph=True)


def pretrain(q, compiled):
    net = Beit(q, q["vocab"], shared=True).to(DEVICE)
    x, n = images(q), (q["image"] // q["patch"]) ** 2
    mask = torch.zeros(q["batch"], n, dtype=torch.bool, device=DEVICE)
    mask[:, : q["masked"]] = True
    rows = mask.flatten().nonzero().flatten()
    y = torch.randint(0, q["vocab"], (len(rows),), device=DEVICE)

    def logits():
        return net.head(net(x, mask).flatten(0, 1)[rows])

    forward = torch.compile(logits) if compiled else logits
    return training(net, lambda: functional.cross_entropy(forward().float(), y))


def finetune(q, compiled):
    net = Beit(q, q["classes"], shared=False).to(DEVICE)
    x, y = images(q), torch.randint(0, q["classes"], (q["batch"],), device=DEVICE)
    forward = torch.compile(net) if compiled else net
    return training(net, lambda: functional.cross_entropy(forward(x).float(), y, label_smoothing=0.1))


def without_gradients(net, x, compiled):
    forward = torch.compile(net) if compiled else net

    def call():
        with torch.inference_mode(), autocast():
            forward(x)

    return call


def inference(q, compiled):
    net = Beit(q, q["classes"], shared=False).to(DEVICE).eval()
    if ENGINE == "onnxruntime":
        return in_onnxruntime(net, images(q))
    if PRECISION == "bf16" and not CUDA:
        # On a CPU parameters in bf16 are faster than casting them in every call.
        net, x = net.to(torch.bfloat16), images(q).to(torch.bfloat16)
        return in_inference_mode(net, x)
    return without_gradients(net, images(q), compiled)


def in_inference_mode(net, x):
    def call():
        with torch.inference_mode():
            net(x)

    return call


def in_onnxruntime(net, x):
    import io

    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(net, (x,), file, dynamo=False, opset_version=17, input_names=["images"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": x.numpy()})


def masks(q, _):
    """Block-wise masks the way the released generator makes them: a loop over the cells of every block that is tried."""
    import math
    import random

    import numpy

    def block(mask, limit):
        for _ in range(10):
            area, aspect = random.uniform(16, limit), math.exp(random.uniform(math.log(0.3), math.log(1 / 0.3)))
            h, w = int(round(math.sqrt(area * aspect))), int(round(math.sqrt(area / aspect)))
            if w < 14 and h < 14:
                top, left = random.randint(0, 14 - h), random.randint(0, 14 - w)
                masked = mask[top : top + h, left : left + w].sum()
                if 0 < h * w - masked <= limit:
                    new = 0
                    for i in range(top, top + h):
                        for j in range(left, left + w):
                            if mask[i, j] == 0:
                                mask[i, j] = 1
                                new += 1
                    if new > 0:
                        return new
        return 0

    def call():
        for _ in range(q["masks"]):
            mask, count = numpy.zeros((14, 14), dtype=int), 0
            while count < 75:
                new = block(mask, 75 - count)
                if new == 0:
                    break
                count += new

    return call


def pipeline(q, _):
    """The released augmentation with torchvision on Pillow, without the mask."""
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import resized_crop

    jitter, flip = transforms.ColorJitter(0.4, 0.4, 0.4), transforms.RandomHorizontalFlip()
    normalise = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])

    def call():
        image = flip(jitter(Image.open(q["file"]).convert("RGB")))
        region = transforms.RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3))
        normalise(resized_crop(image, *region, [224, 224], InterpolationMode.BICUBIC))
        0.8 * transforms.ToTensor()(resized_crop(image, *region, [112, 112], InterpolationMode.LANCZOS)) + 0.1

    return call


def tokenizer(q, compiled):
    net = Encoder(q["groups"], q["blocks"], q["tokenizer_hidden"], q["vocab"])
    net = net.to(DEVICE, memory_format=torch.channels_last).eval()
    side = q["image"] // q["patch"] << (q["groups"] - 1)
    x = torch.rand(q["batch"], 3, side, side, device=DEVICE).to(memory_format=torch.channels_last)
    return without_gradients(net, x, compiled)


ROWS = {
    f.__name__: f
    for f in (product, convolution, attention, pretrain, finetune, inference, tokenizer, masks, pipeline)
}
ALONE = ("product", "convolution", "masks", "pipeline")


def wait():
    if CUDA:
        torch.cuda.synchronize()


def once(call, calls):
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    wait()
    return (time.perf_counter() - start) / calls


def timed(call, q):
    calls = max(1, min(10_000, -int(-q["seconds"] // once(call, 1))))
    times = sorted(once(call, calls) for _ in range(q["runs"]))
    return (times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2


def warmed(call):
    for _ in range(3):
        call()
    return call


def ways(q):
    """What can be called, plain and compiled, of which the slower is dropped."""
    calls = {"plain": warmed(ROWS[q["row"]](q, False))}
    if CUDA and q["row"] not in ALONE:
        try:
            calls["compiled"] = warmed(ROWS[q["row"]](q, True))
        except Exception as error:  # What the compiler cannot do is no failure of the measurement.
            print(f"torch.compile: {error!r}"[:200], file=sys.stderr)
    best = min(calls, key=lambda how: once(calls[how], 3))
    return best, calls[best]


def main():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name(DEVICE) if CUDA else f"{torch.get_num_threads()} threads"
    version = f"torch {torch.__version__}"
    if ENGINE == "onnxruntime":
        import onnxruntime

        version = f"onnxruntime {onnxruntime.__version__}"
        if PRECISION != "f32":
            raise ValueError("onnxruntime is measured in f32 only; add --precision f32")
    say(hello=f"{version}, {name}, {PRECISION}")
    last, kept = None, None
    for line in sys.stdin:
        q = json.loads(line)
        if line != last:
            kept = None
            if CUDA:
                torch.cuda.empty_cache()
            kept = ways(q)
        last = line
        how, call = kept
        # What feeds a step is measured on one core.
        threads = torch.get_num_threads()
        torch.set_num_threads(1 if q["row"] in ("masks", "pipeline") else threads)
        say(time=timed(call, q), how=how)
        torch.set_num_threads(threads)


try:
    main()
except Exception as error:
    say(error=f"{type(error).__name__}: {error}".splitlines()[0][:300])
    sys.exit(1)
