"""Fits a line by gradient descent: replace `epoch` by a step of your own training."""
import json
import os
import pathlib
import random
import sys

EPOCHS = 9


def arguments():
    """`--lr 0.1 --momentum 0.9` as a map."""
    words = sys.argv[1:]
    return {name.lstrip("-"): float(value) for name, value in zip(words[::2], words[1::2])}


def points():
    draw = random.Random(7)
    return [(x, 3 * x + 2 + draw.gauss(0, 0.1)) for x in (draw.uniform(-1, 1) for _ in range(100))]


def loss(line, data):
    slope, height = line
    return sum((slope * x + height - y) ** 2 for x, y in data) / len(data)


def epoch(line, speed, data, lr, momentum):
    slope, height = line
    errors = [(slope * x + height - y, x) for x, y in data]
    gradient = (sum(e * x for e, x in errors) / len(data), sum(e for e, _ in errors) / len(data))
    speed = [momentum * s - lr * g for s, g in zip(speed, gradient)]
    return [slope + speed[0], height + speed[1]], speed


def main():
    given, data = arguments(), points()
    line, speed = [0.0, 0.0], [0.0, 0.0]
    for step in range(1, EPOCHS + 1):
        line, speed = epoch(line, speed, data, given["lr"], given["momentum"])
        # One line of JSON is a report; every other line is log.
        print(json.dumps({"trialog": "metric", "name": "loss", "value": loss(line, data), "step": step}), flush=True)
    # What is in this folder at the end is kept.
    folder = pathlib.Path(os.environ.get("TRIALOG_OUTPUT_MODEL", "."))
    (folder / "line.json").write_text(json.dumps(line))


main()
