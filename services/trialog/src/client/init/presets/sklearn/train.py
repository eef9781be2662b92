"""Trains a classifier of scikit-learn on its bundled wines, a few trees at a time."""
import argparse
import json
import os
import pathlib
import pickle

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

ROUNDS = 9

parser = argparse.ArgumentParser()
parser.add_argument("--max-depth", type=int, required=True)
parser.add_argument("--max-features", type=float, required=True)
parser.add_argument("--criterion", required=True)
options = parser.parse_args()

x, y = load_wine(return_X_y=True)
for step in range(1, ROUNDS + 1):
    forest = RandomForestClassifier(
        n_estimators=3 * step, max_depth=options.max_depth, max_features=options.max_features,
        criterion=options.criterion, random_state=7)
    accuracy = cross_val_score(forest, x, y, cv=3).mean()
    # One line of JSON is a report; every other line is log.
    print(json.dumps({"trialog": "metric", "name": "accuracy", "value": accuracy, "step": step}), flush=True)

# What is in this folder at the end is kept; a model.pkl with `predict` can be deployed as it is.
folder = pathlib.Path(os.environ.get("TRIALOG_OUTPUT_MODEL", "."))
with open(folder / "model.pkl", "wb") as file:
    pickle.dump(forest.fit(x, y), file)
