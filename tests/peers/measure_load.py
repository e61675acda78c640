"""How long and with how much memory a checkpoint of real size loads and sees one picture.

    python measure_load.py DIR [--xtask CMD] [--name NAME] [--runs 3]

DIR is what `make_checkpoints.py DIR --size base` wrote. Every run is a process of its own on a file that
is in the page cache. Seconds are those of the whole process, the least of the runs; for the peers also
without their imports. Memory is the greatest resident set of the process, also relative to the file.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

MB = 1e6


def peer_run(path, pixels):
    """Loads a folder with its own package and sees the pictures; prints the seconds without imports.

    Imports are in here because the memory of a process that starts others counts as theirs.
    """
    import timm
    import transformers
    from safetensors.torch import load_file

    from checkpoints import logits_of

    began, config = time.perf_counter(), json.loads((path / "config.json").read_text())
    if "architecture" in config:
        model = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    else:
        model = getattr(transformers, config["architectures"][0]).from_pretrained(path).eval()
    logits_of(model, load_file(pixels))
    print(time.perf_counter() - began)


def one_picture(io, file):
    """Writes the inputs of the first picture, in a process of its own."""
    code = (
        "import sys; from safetensors.torch import load_file, save_file; tensors = load_file(sys.argv[1]);"
        "save_file({'pixel_values': tensors['pixel_values'][:1]}, sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, io, file], check=True)


def measure(command):
    """Runs a command: seconds, greatest resident set in bytes, and what it printed."""
    began = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{shlex.join(map(str, command))}: exit status {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024, printed


def report(name, command, files, runs, peer):
    """Warms the page cache, measures, prints one line."""
    size = sum(len(file.read_bytes()) for file in files)
    results = [measure(command) for _ in range(runs)]
    seconds, memory = min(r[0] for r in results), max(r[1] for r in results)
    inside = f"{min(float(r[2].split()[-1]) for r in results):8.2f}" if peer else " " * 8
    print(f"{name:32} {size / MB:8.1f} {seconds:8.2f} {inside} {memory / MB:8.0f} {memory / size:8.2f}", flush=True)


def main():
    """Our command line and the checkpoint's own package, side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--xtask", default="cargo run --release -q -p xtask --", help="(default: %(default)s)")
    parser.add_argument("--name", nargs="*", default=["hf-classify", "timm-classify"], help="(default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", nargs=2, type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer_run(*options.peer)
    print(f"{'':32} {'file MB':>8} {'s':>8} {'s inside':>8} {'peak MB':>8} {'/ file':>8}")
    for name in options.name:
        path = options.folder / name / "model"
        files = [file for file in path.iterdir() if file.suffix in (".safetensors", ".bin")]
        with tempfile.TemporaryDirectory() as scratch:
            pixels, out = pathlib.Path(scratch) / "in.safetensors", pathlib.Path(scratch) / "out.safetensors"
            one_picture(options.folder / name / "io.safetensors", pixels)
            ours = [*shlex.split(options.xtask), "infer", "--model", path, "--pixels", pixels, "--out", out]
            theirs = [sys.executable, __file__, options.folder, "--peer", path, pixels]
            report(f"{name}, ours", ours, files, options.runs, peer=False)
            report(f"{name}, its package", theirs, files, options.runs, peer=True)


if __name__ == "__main__":
    main()
