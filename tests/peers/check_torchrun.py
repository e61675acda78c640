"""Runs that torchrun starts end with the bits of one process.

    python check_torchrun.py [--xtask CMD]

Pre-training in steps of four micro-batches: by one process, by two and four that `torchrun --standalone` starts, and by two nodes of two
processes each (two launchers on this machine, which meet as those of two machines do). Then a process is killed: the launcher must end,
with no process left, and another number of processes goes on to the same bits.
Exit status 0 means that all agreed.
"""

import argparse
import hashlib
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

from checkpoints import CARGO

RUN = (
    "pretrain --tokenizer-steps 1 --measure-images 64 --update-freq 4 --batch-size 8 --threads 1"
    " --report-every 1 --save-every 1"
)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Place:
    def __init__(self, xtask, folder):
        self.xtask, self.folder = shlex.split(xtask), folder

    def command(self, out, launcher=(), steps=3, more=""):
        return [*launcher, *self.xtask, *shlex.split(f"{RUN} --steps {steps} --out {out} {more}")]

    def start(self, command):
        return subprocess.Popen(
            command, cwd=self.folder, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def end(self, out):
        model = self.folder / out / "last" / "model.safetensors"
        return hashlib.sha256(model.read_bytes()).hexdigest()


def torchrun(processes, *more):
    this = str(pathlib.Path(sys.executable).with_name("torchrun"))
    return [this, "--no-python", "--nproc-per-node", str(processes), *more]


def good(processes):
    for process in processes:
        _, said = process.communicate(timeout=600)
        if process.returncode != 0:
            sys.exit(f"{process.args} ended with {process.returncode}:\n{said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xtask", default=" ".join(CARGO))
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        place = Place(args.xtask, pathlib.Path(folder))
        good([place.start(place.command("one"))])
        for processes in (2, 4):
            good([place.start(place.command(f"of-{processes}", torchrun(processes, "--standalone")))])
        rendezvous = ["--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}"]
        nodes = torchrun(2, *rendezvous, "--rdzv-id", "two", "--local-addr", "localhost")
        good([place.start(place.command("nodes", nodes)) for _ in range(2)])
        for out in ("of-2", "of-4", "nodes"):
            agreed(place.end(out) == place.end("one"), f"{out}: the bits of one process")

        # A name that no other process of this machine has.
        killed = f"killed-{os.getpid()}"
        good([place.start(place.command("whole", steps=12))])
        launcher = place.start(place.command(killed, torchrun(2, "--standalone"), steps=12))
        while not (place.folder / killed / "last/model.safetensors").exists():
            time.sleep(0.01)
        own = subprocess.run(["pgrep", "-f", f"xtask pretrain.*--out {killed}$"], capture_output=True, text=True)
        workers = [int(line) for line in own.stdout.split() if int(line) != launcher.pid]
        os.kill(workers[-1], signal.SIGKILL)
        launcher.communicate(timeout=60)
        agreed(launcher.returncode != 0, "the launcher ends where a process is killed")
        left = subprocess.run(["pgrep", "-f", f"xtask pretrain.*--out {killed}$"], capture_output=True, text=True)
        agreed(left.stdout == "", "no process is left")
        resumed = [*torchrun(4, "--standalone"), *place.xtask, "pretrain", "--resume", "--out", killed]
        good([place.start([*resumed, "--threads", "1"])])
        agreed(place.end(killed) == place.end("whole"), "another number goes on to the same bits")


def agreed(found, what):
    print(f"{'ok' if found else 'FAILED'}  {what}", flush=True)
    if not found:
        sys.exit(1)


if __name__ == "__main__":
    main()
