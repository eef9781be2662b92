"""Several objectives: the share of a known front's hypervolume that is missing after so many evaluations.

    trialog up --data DATA &
    fronts.py --url http://127.0.0.1:PORT --token TOKEN [--seeds 5] [--evaluations 100] [--peers]

`--peers` runs Optuna beside it (pip install optuna). Problems: ZDT1 to ZDT3 (Zitzler et al. 2000), Branin and Currin
(Belakaria et al. 2019), DTLZ2 (Deb et al. 2002); all are minimised over the unit cube.
"""
import argparse
import http.client
import itertools
import json
import math
import statistics
import uuid
from urllib.parse import urlsplit


def zdt(shape):
    def problem(x):
        g = 1 + 9 * sum(x[1:]) / (len(x) - 1)
        return [x[0], g * shape(x[0], g)]

    return problem


def branin_currin(x):
    a, b = 15 * x[0] - 5, 15 * x[1]
    bowl = (b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6) ** 2
    branin = bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10
    polynomials = (2300 * x[0] ** 3 + 1900 * x[0] ** 2 + 2092 * x[0] + 60, 100 * x[0] ** 3 + 500 * x[0] ** 2 + 4 * x[0] + 20)
    return [branin, (1 - math.exp(-1 / (2 * max(x[1], 1e-9)))) * polynomials[0] / polynomials[1]]


def dtlz2(x):
    far = 1 + sum((v - 0.5) ** 2 for v in x[2:])
    (a, b), (c, d) = ((math.cos(v * math.pi / 2), math.sin(v * math.pi / 2)) for v in x[:2])
    return [far * a * c, far * a * d, far * b]


def grid(count, dimensions):
    return itertools.product([i / (count - 1) for i in range(count)], repeat=dimensions)


ZDT = {
    "zdt1": zdt(lambda f, g: 1 - math.sqrt(f / g)),
    "zdt2": zdt(lambda f, g: 1 - (f / g) ** 2),
    "zdt3": zdt(lambda f, g: 1 - math.sqrt(f / g) - f / g * math.sin(10 * math.pi * f)),
}
# name: (function, parameters, reference point, points on or around the front)
PROBLEMS = {
    **{name: (f, 6, [1.1, 11], lambda: ([t, 0, 0, 0, 0, 0] for (t,) in grid(4000, 1))) for name, f in ZDT.items()},
    "branin_currin": (branin_currin, 2, [310, 14], lambda: grid(400, 2)),
    "dtlz2": (dtlz2, 5, [2, 2, 2], lambda: ([a, b, 0.5, 0.5, 0.5] for a, b in grid(60, 2))),
}


def hypervolume(points, corner):
    """What the points dominate up to the corner; in slices along the last objective."""
    inside = [p for p in points if all(v < c for v, c in zip(p, corner))]
    if not inside:
        return 0.0
    if len(corner) == 2:
        area, low = 0.0, corner[1]
        for first, second in sorted(inside):
            if second < low:
                area, low = area + (corner[0] - first) * (low - second), second
        return area
    heights = sorted({p[-1] for p in inside}) + [corner[-1]]
    volume, seen = 0.0, []
    by_height = {}
    for p in inside:
        by_height.setdefault(p[-1], []).append(p[:-1])
    for low, high in zip(heights, heights[1:]):
        seen += by_height[low]
        seen = [p for p in seen if not any(q != p and all(a <= b for a, b in zip(q, p)) for q in seen)]
        volume += (high - low) * hypervolume(seen, corner[:-1])
    return volume


def by_trialog(options, method, problem, seed):
    function, parameters, corner, _ = PROBLEMS[problem]
    place = urlsplit(options.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    headers = {"Authorization": f"Bearer {options.token}", "Content-Type": "application/json"}

    def post(path, body):
        connection.request("POST", f"/api/v1/workspaces/default/sweeps{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"POST {path}: {answer.status} {text.decode()}")
        return json.loads(text)

    count = options.evaluations
    sweep = post("", {
        "name": f"fronts-{uuid.uuid4().hex[:10]}", "mode": "external",
        "objectives": [{"goal": "minimize", "primary_metric": f"f{i}"} for i in range(len(corner))],
        "search_space": {f"x{i}": {"type": "uniform", "min_value": 0, "max_value": 1} for i in range(parameters)},
        "sampling_algorithm": {"type": "bayesian", "method": method, "seed": seed},
        "limits": {"max_total_trials": count, "max_concurrent_trials": 1},
    })["id"]
    found = []
    for _ in range(count):
        trial = post(f"/{sweep}/trials:ask", {"count": 1})["trials"][0]
        found.append(function([float(trial["parameters"][f"x{i}"]) for i in range(parameters)]))
        values = {f"f{i}": value for i, value in enumerate(found[-1])}
        post(f"/{sweep}/trials/{trial['index']}:tell", {"attempt": trial["attempt"], "values": values, "final": True})
    return found


def by_optuna(options, method, problem, seed):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    function, parameters, corner, _ = PROBLEMS[problem]
    samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=20),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    study = optuna.create_study(directions=["minimize"] * len(corner), sampler=samplers[method]())
    found = []

    def objective(trial):
        found.append(function([trial.suggest_float(f"x{i}", 0, 1) for i in range(parameters)]))
        return found[-1]

    study.optimize(objective, n_trials=options.evaluations)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    columns = [("trialog auto", by_trialog, "auto"), ("trialog tpe", by_trialog, "tpe")]
    if options.peers:
        columns += [(f"optuna {method}", by_optuna, method) for method in ("tpe", "nsga2", "random")]
    print("| problem | " + " | ".join(name for name, _, _ in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for problem in options.problems.split(","):
        function, _, corner, around = PROBLEMS[problem]
        best = hypervolume([function(x) for x in around()], corner)
        cells = []
        for _, run, method in columns:
            runs = [run(options, method, problem, seed) for seed in range(options.seeds)]
            shares = [
                statistics.mean(1 - hypervolume(found[:after], corner) / best for found in runs)
                for after in (options.evaluations // 2, options.evaluations)
            ]
            cells.append(", ".join(f"{share:.3f}" for share in shares))
        print(f"| {problem} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
