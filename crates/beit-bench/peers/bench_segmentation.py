"""Segmenters of the peers, timed beside ours: the protocol of `bench_models.py`.

    python bench_segmentation.py cpu f32 torch

A line of JSON is a question, a line of JSON the answer: {"row": "upernet", "batch": 1, "image": 640, "patch": 16, "width": 768, "depth": 12,
"heads": 12, "hidden": 3072, "classes": 150, "taps": [3, 5, 7, 11], "channels": 768, "auxiliary": false, "runs": 3, "seconds": 0.2} gives
{"time": seconds of one call, "how": "plain", "peak": bytes}. `upernet` is a forward pass of transformers' class, `setr` a step of training of
SETR-PUP with AdamW and clipping, whose head is `setr_pup.py`. `peak` is the greatest resident set of the process so far, null where the
system does not tell: who compares memory asks one question of a process of its own. What was asked last is kept, so asking again costs
its time only.
"""

import json
import sys
import time


def say(**answer):
    """Answers."""
    print(json.dumps(answer), flush=True)


try:
    import timm
    import torch
    import torch.nn.functional as F
    import transformers

    from setr_pup import SetrPup
except ImportError as error:
    say(error=f"{error}; segmenters need torch, timm and transformers: install them, or name another Python with --python")
    sys.exit(1)

AUXILIARY_WEIGHT, IGNORED = 0.4, 255


def peak():
    """The greatest resident set of this program so far, in bytes; `ru_maxrss` would count that of the program that started it."""
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def images(q):
    """A batch."""
    return torch.randn(q["batch"], 3, q["image"], q["image"])


def upernet(q):
    """A forward pass of `BeitForSemanticSegmentation`. It computes all blocks, whichever it reads: the work of ours with the same taps."""
    config = transformers.BeitConfig(
        image_size=q["image"], patch_size=q["patch"], hidden_size=q["width"], num_attention_heads=q["heads"],
        num_hidden_layers=q["depth"], intermediate_size=q["hidden"], num_labels=q["classes"], out_indices=q["taps"],
        use_relative_position_bias=True, use_auxiliary_head=False,
    )  # fmt: skip
    net = transformers.BeitForSemanticSegmentation(config).eval()
    x = images(q)

    def call():
        with torch.inference_mode():
            net(x)

    return call


def setr(q):
    """A step of training: forward, loss, backward, clipping, AdamW."""
    backbone = dict(
        img_size=q["image"], patch_size=q["patch"], embed_dim=q["width"], depth=q["depth"], num_heads=q["heads"],
        mlp_ratio=q["hidden"] / q["width"], num_classes=0, use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1,
    )  # fmt: skip
    net = SetrPup(backbone, q["taps"], q["channels"], q["classes"], q["auxiliary"]).train()
    x, y = images(q), torch.randint(q["classes"], (q["batch"], q["image"], q["image"]))
    y[:, :8] = IGNORED
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-5, weight_decay=0.05, fused=True)

    def call():
        losses = [F.cross_entropy(logits, y, ignore_index=IGNORED) for logits in net(x)]
        optimiser.zero_grad(set_to_none=True)
        (losses[0] + AUXILIARY_WEIGHT * sum(losses[1:])).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 3.0)
        optimiser.step()

    return call


ROWS = {f.__name__: f for f in (upernet, setr)}


def once(call, calls):
    """Seconds of one of so many calls."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def timed(call, q):
    """The median of the runs, each as long as was asked."""
    calls = max(1, min(10_000, -int(-q["seconds"] // once(call, 1))))
    times = sorted(once(call, calls) for _ in range(q["runs"]))
    return (times[(len(times) - 1) // 2] + times[len(times) // 2]) / 2


def main():
    """Answers until nobody asks any more."""
    if sys.argv[1:] != ["cpu", "f32", "torch"]:
        raise ValueError("segmenters are measured on the CPU in f32, beside torch")
    versions = f"torch {torch.__version__}, timm {timm.__version__}, transformers {transformers.__version__}"
    say(hello=f"{versions}, {torch.get_num_threads()} threads, f32, {(peak() or 0) / 2**30:.2f} GiB before any row")
    last, call = None, None
    for line in sys.stdin:
        q = json.loads(line)
        if line != last:
            call = None
            call = ROWS[q["row"]](q)
            # Memory is taken and kernels are chosen before anything is timed.
            call()
        last = line
        time_of_one = timed(call, q)
        say(time=time_of_one, how="plain", peak=peak())


try:
    main()
except Exception as error:
    say(error=f"{type(error).__name__}: {error}".splitlines()[0][:300])
    sys.exit(1)
