"""Features judged by scikit-learn, for crates/beit/tests/probe.rs.

Usage: python probe_golden.py ../../crates/beit/tests/goldens

Writes probe.safetensors: `train [200, 16]`, `train_labels [200]`, `test [100, 16]`; for K in 1, 5 and 10 `knn.K [100]`; for C in
0.05 and 1.0 `logistic.C.weights [5, 16]`, `logistic.C.intercepts [5]`, `logistic.C.probabilities [100, 5]`. Made with
scikit-learn 1.9.1.
"""

import pathlib
import sys

import numpy
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

CLASSES = 5

random = numpy.random.default_rng(7)
centres = random.normal(size=(CLASSES, 16))


def draw(images):
    """Clouds that overlap, off the origin, in dimensions of different sizes."""
    labels = random.integers(CLASSES, size=images)
    values = centres[labels] + 1.5 * random.normal(size=(images, 16))
    return (values * numpy.geomspace(0.3, 3, 16) + 0.5).astype(numpy.float32), labels


(train, labels), (test, _) = draw(200), draw(100)
golden = {"train": train, "train_labels": labels, "test": test}

for k in (1, 5, 10):
    golden[f"knn.{k}"] = KNeighborsClassifier(k, metric="cosine").fit(train, labels).predict(test)
    near = KNeighborsClassifier(k + 1, metric="cosine").fit(train, labels).kneighbors(test)[0]
    gap = (near[:, k] - near[:, k - 1]).min()
    print(f"{k} neighbours: the next is {gap:.1e} farther at least")

for c in (0.05, 1.0):
    exact = train.astype(numpy.float64)
    model = LogisticRegression(C=c, tol=1e-12, max_iter=10000).fit(exact, labels)
    golden[f"logistic.{c}.weights"] = model.coef_
    golden[f"logistic.{c}.intercepts"] = model.intercept_
    golden[f"logistic.{c}.probabilities"] = model.predict_proba(test.astype(numpy.float64))
    print(f"C = {c}: {model.n_iter_[0]} steps, accuracy {model.score(exact, labels)}")

single = {"float64": numpy.float32}
# Row by row: safetensors writes the memory as it lies, and scikit-learn's coefficients lie column by column.
golden = {name: value.astype(single.get(str(value.dtype), value.dtype), order="C") for name, value in golden.items()}
save_file(golden, pathlib.Path(sys.argv[1]) / "probe.safetensors")
