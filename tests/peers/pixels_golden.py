"""Pixels counted by scikit-learn, for crates/beit-train/tests/pixels.rs.

Usage: python pixels_golden.py ../../crates/beit-train/tests/goldens

Writes pixels.json: three pictures of right classes (255 has none) and named classes out of 9, of which class 7 is never shown and class
8 neither shown nor named, the confusion matrix, intersection over union and recall of the classes, and the accuracy. Made with
scikit-learn 1.9.1.
"""

import json
import pathlib
import sys

import numpy
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

CLASSES = 9
IGNORED = 255

random = numpy.random.default_rng(11)
pictures = []
for pixels in (1, 60, 300):
    labels = random.integers(7, size=pixels)
    named = numpy.where(random.random(pixels) < 0.6, labels, random.integers(8, size=pixels))
    labels = numpy.where(random.random(pixels) < 0.1, IGNORED, labels)
    pictures.append((labels, named))

right, said = (numpy.concatenate([picture[side] for picture in pictures]) for side in (0, 1))
counted = right != IGNORED
right, said, all_classes = right[counted], said[counted], list(range(CLASSES))
golden = {
    "pictures": [{"labels": labels.tolist(), "named": named.tolist()} for labels, named in pictures],
    "confusion": confusion_matrix(right, said, labels=all_classes).tolist(),
    "iou": jaccard_score(right, said, labels=all_classes[:8], average=None).tolist(),
    "recall": recall_score(right, said, labels=all_classes[:7], average=None).tolist(),
    "accuracy": accuracy_score(right, said),
}
pathlib.Path(sys.argv[1], "pixels.json").write_text(json.dumps(golden) + "\n")
