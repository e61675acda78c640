"""Runs our command line on every checkpoint that the peers wrote and compares what it computes.

    python check_checkpoints.py DIR [--xtask CMD] [--only PATTERN]

DIR is what make_checkpoints.py wrote. Logits may differ by `ALLOWED`, codes not at all. Checkpoints that
are weights only, the segmentation models and the decoder, must be readable by `weights inspect`. Exit
status 0 means that all agreed.
"""

import sys

from checkpoints import Xtask, arguments, print_row, read_list

# Absolute, in float32. The greatest logits are 3 to 10, and float32 torch is within 2e-6 of that.
ALLOWED = 1e-4
WIDTHS = (26, 13, 10)


def compare(got, want):
    """Greatest difference of the logits; raises ValueError if anything disagrees."""
    if got["logits"].numel() != want["logits"].numel():
        raise ValueError(f"logits have shape {list(got['logits'].shape)}, expected {list(want['logits'].shape)}")
    error = (got["logits"].reshape(want["logits"].shape) - want["logits"]).abs().max().item()
    if not error <= ALLOWED:
        raise ValueError(f"logits differ by {error:.2e}")
    if "codes" in want:
        wrong = (got["codes"].flatten() != want["codes"].flatten()).sum().item()
        if wrong:
            raise ValueError(f"{wrong} of {want['codes'].numel()} codes differ")
    return error


def compare_tokens(got, want):
    """Greatest difference of the last block's tokens, after the final norm where there is one."""
    error = (got["tokens"] - want["tokens"]).abs().max().item()
    if not error <= ALLOWED:
        raise ValueError(f"tokens differ by {error:.2e}")
    return error


def check(xtask, checkpoint):
    """What to print for one checkpoint that agrees."""
    want = checkpoint.io
    if checkpoint.features is not None:
        return f"{compare_tokens(xtask.infer(checkpoint.path, checkpoint.features), checkpoint.features):.2e}"
    if want is None:
        xtask.inspect(checkpoint.path)
        return "inspected"
    return f"{compare(xtask.infer(checkpoint.path, want), want):.2e}"


def main():
    """Prints a table; exits with 1 if anything failed."""
    options = arguments(__doc__)
    xtask, failed = Xtask(options.xtask), 0
    print_row(WIDTHS, "checkpoint", "peer", "max diff", "result")
    for checkpoint in read_list(options.folder, options.only):
        try:
            measured, result = check(xtask, checkpoint), "pass"
        except (RuntimeError, ValueError, KeyError) as problem:
            measured, result, failed = "-", f"FAIL: {problem}", failed + 1
        print_row(WIDTHS, checkpoint.name, checkpoint.peer, measured, result)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
