"""Trains a small neural network on scikit-learn's bundled handwritten digits, one epoch at a time.

A trial of a sweep: parameters come as arguments, the accuracy on the validation rows goes out after each epoch as one JSON line,
the state after each epoch is a checkpoint, and a notice of preemption ends the process after the epoch it is in.
"""

import argparse
import json
import os
import pathlib
import pickle
import signal
import sys

import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

CLASSES = numpy.arange(10)
SPLIT_SEED = 20190219  # the same rows are held out in every trial, and by whoever scores the endpoint


def split():
    """(train, validation, test) as pairs of pixels in 0..1 and labels: 1,078, 359 and 360 rows."""
    x, y = load_digits(return_X_y=True)
    x = x / 16.0
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=360, random_state=SPLIT_SEED, stratify=y)
    x_train, x_val, y_train, y_val = train_test_split(x_rest, y_rest, test_size=359, random_state=SPLIT_SEED, stratify=y_rest)
    return (x_train, y_train), (x_val, y_val), (x_test, y_test)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--activation", required=True)
    parser.add_argument("--momentum", type=float, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    return parser.parse_args()


def save(path, state):
    """Whole or not at all: a kill in the middle leaves the older checkpoint."""
    draft = path.with_suffix(".draft")
    with open(draft, "wb") as file:
        pickle.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def main():
    noticed = []
    signal.signal(signal.SIGTERM, lambda *_: noticed.append(True))
    options = arguments()
    (x, y), (x_val, y_val), _ = split()
    checkpoint = pathlib.Path(os.environ.get("TRIALOG_CHECKPOINT_DIR", ".")) / "state.pickle"
    if os.environ.get("TRIALOG_RESUME") == "1" and checkpoint.exists():
        with open(checkpoint, "rb") as file:
            model, epoch = pickle.load(file)
        print(f"resumed after epoch {epoch}", file=sys.stderr)
    else:
        seed = int(os.environ.get("TRIALOG_SEED", "0")) % 2**32
        model = MLPClassifier(
            hidden_layer_sizes=(options.hidden,), activation=options.activation, solver="sgd", alpha=options.alpha,
            batch_size=options.batch_size, learning_rate_init=options.lr, momentum=options.momentum, random_state=seed)
        epoch = 0
    while epoch < options.epochs:
        model.partial_fit(x, y, classes=CLASSES)
        epoch += 1
        save(checkpoint, (model, epoch))
        print(json.dumps({"trialog": "metric", "name": "val_accuracy", "value": model.score(x_val, y_val), "step": epoch}), flush=True)
        if noticed:
            print(f"preempted after epoch {epoch}", file=sys.stderr)
            return
    folder = pathlib.Path(os.environ.get("TRIALOG_OUTPUT_MODEL", "."))
    with open(folder / "model.pkl", "wb") as file:
        pickle.dump(model, file)


if __name__ == "__main__":
    main()
