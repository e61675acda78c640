"""Reads the event files of runs with the package tensorboard, and compares them with metrics.jsonl.

    python check_tensorboard.py RUN...

Every number of every line must be there once, at its step, and nothing else. Needs `pip install tensorboard`.
"""

import json
import math
import sys
from pathlib import Path

import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PLACE = {"step", "total"}


def numbers(record):
    """Names and numbers of a line, those of objects within it too."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from numbers(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name not in PLACE:
            yield name, value


def expected(run):
    """What stands in the metrics: phase, name, step and value. What has no step is of the last step that was reported."""
    last, found = 0, []
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        phase = record["phase"]
        if phase in ("tokenizer", "pretrain", "finetune"):
            last = record["step"]
        named = dict(numbers(record))
        if "metric" in record:
            named[record["metric"]] = named.pop("value")
        found += [(phase, name, record.get("step", last), value) for name, value in named.items()]
    return found


def shown(run):
    """What TensorBoard shows."""
    found = []
    for folder in sorted((run / "tensorboard").iterdir()):
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            found += [(folder.name, tag, event.step, event.value) for event in events.Scalars(tag)]
        # Newer versions read scalars as tensors of no extent.
        for tag in events.Tags()["tensors"]:
            for event in events.Tensors(tag):
                found.append((folder.name, tag, event.step, event.tensor_proto.float_val[0]))
    return found


def main():
    for run in map(Path, sys.argv[1:]):
        wanted, found = sorted(expected(run)), sorted(shown(run))
        assert wanted, f"{run}: nothing was measured"
        assert [entry[:3] for entry in wanted] == [entry[:3] for entry in found], (
            f"{run}: missing {set(e[:3] for e in wanted) - set(e[:3] for e in found)}, "
            f"beyond {set(e[:3] for e in found) - set(e[:3] for e in wanted)}"
        )
        for want, have in zip(wanted, found):
            assert numpy.float32(want[3]) == numpy.float32(have[3]) or math.isnan(have[3]), (want, have)
        files = sum(1 for _ in (run / "tensorboard").glob("*/*"))
        phases = sorted({entry[0] for entry in found})
        print(f"{run}: {len(found)} numbers of {', '.join(phases)} in {files} files, as in metrics.jsonl")


main()
