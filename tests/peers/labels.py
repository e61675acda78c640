"""Makes the class names in crates/beit-weights/assets from the tables that timm ships.

    peers-venv/bin/python labels.py ../../crates/beit-weights/assets

The 21841 classes are those of ImageNet's release of autumn 2011 in the order of their synsets. Google's list
of 21843, which transformers' configurations come from, has two more; without them the classes are numbered anew.
"""

import gzip
import sys
from pathlib import Path

import timm

INFO = Path(timm.__file__).parent / "data" / "_info"

# The entries of Google's list that the release of 2011 does not have, by their place in that list.
EXTRA = {9205: "n03931044", 15027: "n09859684"}


def synsets(name):
    """The synsets of one of timm's lists, in model order."""
    return (INFO / f"{name}.txt").read_text().split()


def names():
    """English names by synset: the words of WordNet 3.0, separated by commas."""
    lines = (INFO / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


def check(wnids):
    """Order is what makes the numbers right, so it is checked and not assumed."""
    google = synsets("imagenet21k_goog_synsets")
    assert {i: google[i] for i in EXTRA} == EXTRA
    assert [wnid for i, wnid in enumerate(google) if i not in EXTRA] == wnids
    assert wnids == sorted(wnids) and len(wnids) == 21841


def columns(wnids, names):
    """All numbers, each as its distance from the one before, then all names: a fifth smaller than rows."""
    numbers = [int(wnid[1:]) for wnid in wnids]
    steps = [after - before for before, after in zip([0] + numbers, numbers)]
    return "".join(f"{line}\n" for line in [*steps, *(names[wnid] for wnid in wnids)])


def main(out):
    """Writes both files, the same bytes each time."""
    lemmas = names()
    few, many = synsets("imagenet_synsets"), synsets("imagenet22k_synsets")
    check(many)
    assert few == sorted(few) and len(few) == 1000
    text = "".join(f"{wnid}\t{lemmas[wnid]}\n" for wnid in few)
    (out / "imagenet-1k.tsv").write_text(text)
    packed = gzip.compress(columns(many, lemmas).encode(), 9, mtime=0)
    (out / "imagenet-22k.txt.gz").write_bytes(packed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
