"""Makes the Optuna studies that the import is tested against: run once with Optuna 4.x and once with 5.x.

    python make_optuna_studies.py optuna4.db
"""

import math
import sqlite3
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    shift = trial.suggest_float("shift", 0.05, 1.0, step=0.1)
    units = trial.suggest_int("units", 16, 128, step=16)
    depth = trial.suggest_int("depth", 1, 9)
    batch = trial.suggest_int("batch", 2, 300, log=True)
    optimizer = trial.suggest_categorical("optimizer", ["adam", "sgd"])
    trial.suggest_categorical("mixed", [None, 1, "one", True])
    value = abs(math.log10(lr) + 3) + dropout + shift / 10 + depth / 100 + units / 1000 + batch / 10000
    if optimizer == "sgd":
        value += trial.suggest_float("momentum in %", 0.0, 99.0) / 100
    for step in range(3):
        trial.report(value + 1 / (step + 1), step)
    if trial.number % 10 == 3:
        raise optuna.TrialPruned()
    if trial.number % 10 == 7:
        raise ValueError("a failure")
    if trial.number == 9:
        trial.report(float("nan"), 3)
        return float("inf")
    return value


def main(path):
    storage = f"sqlite:///{path}"
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(storage=storage, study_name="down", sampler=sampler)
    study.optimize(objective, n_trials=30, catch=(ValueError,))
    study.ask()
    up = optuna.create_study(storage=storage, study_name="up", sampler=sampler, direction="maximize")
    up.optimize(lambda trial: trial.suggest_float("x", -1.0, 1.0), n_trials=12)
    pareto = optuna.create_study(storage=storage, study_name="pareto", directions=["minimize", "maximize"])
    pareto.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=1)
    # Small pages keep a file of many small tables small.
    with sqlite3.connect(path, isolation_level=None) as file:
        file.execute("PRAGMA page_size = 512")
        file.execute("VACUUM")
    print(optuna.__version__, study.best_trial.number, study.best_value, up.best_trial.number, up.best_value)


if __name__ == "__main__":
    main(sys.argv[1])
