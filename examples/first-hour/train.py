"""Fits a small model of what an ice cream stall sells in a day; the data are invented.

A trial of a sweep: parameters come as arguments, the error on the days held out goes out after each round as one JSON line. Two corners
of the search space are bad on purpose, as they are in most: a batch larger than the days there are ends the script, and steps too long
make the numbers overflow, so that the error is no number.
"""

import argparse
import json
import os
import pathlib
import shutil

import numpy

import score

ROUNDS = 9
HELD_OUT = 5  # every fifth day is for validation


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--waves", type=int, required=True)
    parser.add_argument("--width", type=float, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--optimizer", choices=["plain", "momentum"], required=True)
    parser.add_argument("--momentum", type=float, default=0.0)  # only there with that optimizer
    return parser.parse_args()


def days():
    """(days, sold) to fit, and the same to validate."""
    table = numpy.loadtxt("sales.csv", delimiter=",", skiprows=1, dtype=numpy.float32)
    held_out = numpy.arange(len(table)) % HELD_OUT == 0
    return [(rows[:, :-1], rows[:, -1]) for rows in (table[~held_out], table[held_out])]


def main():
    given = arguments()
    draw = numpy.random.default_rng(int(os.environ.get("TRIALOG_SEED", "0")))
    (x, sold), (x_held_out, sold_held_out) = days()
    model = score.begin(x, sold, given.waves, given.width, draw)
    weights, speed = numpy.zeros(2 * given.waves, dtype=numpy.float32), 0.0
    seen, target = score.features(model, x), (sold - model["mean"]) / model["spread"]
    for step in range(1, ROUNDS + 1):
        for _ in range(40):
            batch = draw.choice(len(seen), given.batch, replace=False)
            error = seen[batch] @ weights - target[batch]
            speed = given.momentum * speed - given.lr / given.batch * seen[batch].T @ error
            weights = weights + speed
        model["weights"] = weights
        rmse = float(numpy.sqrt(numpy.mean((score.predict(model, x_held_out) - sold_held_out) ** 2)))
        # One line of JSON is a report; every other line is log.
        print(json.dumps({"trialog": "metric", "name": "rmse", "value": rmse, "step": step}), flush=True)
    # What is in this folder at the end is kept; with score.py it can be deployed as it is.
    folder = pathlib.Path(os.environ.get("TRIALOG_OUTPUT_MODEL", "."))
    numpy.savez(folder / "model.npz", **model)
    if folder != pathlib.Path("."):
        shutil.copy("score.py", folder)


if __name__ == "__main__":
    main()
