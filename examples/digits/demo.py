"""The demo: one real sweep on simulated low-priority nodes, from submission to answers of a deployed model.

Run by `make demo`. Everything goes through the command line and the REST interface, as a user would do it. The last line is one JSON
object; the exit status is 0 only if all of it is right. Standard library only, but for the held-out rows, which scikit-learn brings.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

import train

FOLDER = pathlib.Path(__file__).resolve().parent
TRIALOG = os.environ["TRIALOG"]  # the binary
DATA = pathlib.Path(os.environ.get("DEMO_DATA", "./demo-data")).resolve()
URL = os.environ.get("DEMO_URL")  # of a server that runs; without it one is started
TOKEN = os.environ.get("TRIALOG_TOKEN")  # of that server
LISTEN = os.environ.get("DEMO_LISTEN", "127.0.0.1:8080")
KEEP = os.environ.get("DEMO_KEEP", "1") != "0"
START_SECONDS = 30  # a debug build on a busy machine is ready within 2
SWEEP_SECONDS = 900


class DemoError(Exception):
    """Something that the demo promises did not happen."""


def say(text):
    print(f"\n== {text}", flush=True)


def trialog(*words, show=False):
    """Runs a client command; `show` lets it draw on the terminal, else its JSON is the result."""
    command = [TRIALOG, *words]
    if show:
        if subprocess.run(command, env=ENVIRONMENT).returncode != 0:
            raise DemoError(f"{' '.join(words)} failed")
        return None
    done = subprocess.run([*command, "-o", "json"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise DemoError(f"{' '.join(words)} ended with {done.returncode}: {done.stdout[-2000:]}")
    return json.loads(done.stdout)


def start_server():
    # A session of its own: Ctrl-C ends the demo, which then ends the nodes and the server in order.
    server = subprocess.Popen([TRIALOG, "up", "--data", str(DATA), "--listen", LISTEN], start_new_session=True)
    announced = DATA / "run" / "server.json"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DemoError(f"the server ended with {server.returncode}; is {LISTEN} taken? DEMO_LISTEN=127.0.0.1:9090 make demo")
        try:
            facts = json.loads(announced.read_text())
            if facts["pid"] == server.pid:
                with urllib.request.urlopen(facts["url"] + "/readyz", timeout=2):
                    return server, facts["url"]
        except (OSError, ValueError, urllib.error.URLError):
            pass
        time.sleep(0.05)
    stop(server)
    raise DemoError(f"the server was not ready within {START_SECONDS} s")


def score(url, token, rows):
    """Sends rows to the endpoint; the predictions and the answer's headers."""
    request = urllib.request.Request(
        f"{url}/endpoints/default/digits/invocations", json.dumps({"inputs": rows}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"], answer.headers


def run_sweep():
    trialog("cluster", "create", "spot", "--vm-size", "D2", "--vm-priority", "low_priority", "--min", "0", "--max", "4",
            "--idle-seconds", "20", "--boot-seconds", "1", "--notice-seconds", "5", "--preemption-mean-seconds", "25",
            "--preemption-seed", "11")
    say("Submitting examples/digits/sweep.yaml")
    sweep = trialog("sweep", "submit", str(FOLDER / "sweep.yaml"), "--set", f"trial.environment.python={sys.executable}")
    for warning in sweep["warnings"]:
        print(f"   warning: {warning['message']}")
    trialog("sweep", "follow", sweep["id"], show=True)
    return trialog("sweep", "show", sweep["id"])


def explain(sweep):
    best = sweep["best"]
    say(f"Trial {best['trial_index']} won: {sweep['primary_metric']} {best['value']:.4f} with {json.dumps(best['parameters'])}")
    trials = trialog("trial", "list", sweep["sweep_id"])["trials"]
    stopped = [trial for trial in trials if trial["state"] == "EarlyStopped"]
    print(f"   {len(trials)} trials, {len(stopped)} stopped early, {sweep['preemptions']} preemptions survived")
    if stopped:
        say(f"Why was trial {stopped[0]['index']} stopped? (trialog why {sweep['name']}/{stopped[0]['index']})")
        trialog("why", f"{sweep['sweep_id']}/{stopped[0]['index']}", show=True)
    return trials, stopped


def deploy(sweep):
    say("Registering the winner's model and deploying it")
    best = sweep["best"]["run_id"]
    version = trialog("model", "register", "digits", "--run", best, "--path", "outputs/model", "--tag", "example=digits")
    trialog("model", "alias", "digits", "champion", str(version["version"]), "--reason", "best of the demo's sweep")
    trialog("cluster", "create", "serving", "--vm-size", "D2", "--vm-priority", "dedicated", "--min", "0", "--max", "1",
            "--idle-seconds", "600", "--boot-seconds", "0.2")
    trialog("endpoint", "create", "digits")
    trialog("deployment", "create", "digits", "blue", "--model", "digits@champion", "--cluster", "serving", "--python",
            sys.executable, "--cpu-count", "1", "--wait", "120")
    trialog("endpoint", "traffic", "digits", "blue=100")


def demo(began):
    if URL:
        server, url, token = None, URL, TOKEN
    else:
        say("Starting trialog up")
        server, url = start_server()
        token = (DATA / "admin.token").read_text().strip()
    try:
        ENVIRONMENT.update(TRIALOG_API_URL=url, TRIALOG_TOKEN=token)
        sweep = run_sweep()
        trials, stopped = explain(sweep)
        say("Recomputing every suggestion and every stop from the log (trialog verify)")
        verified = trialog("verify", sweep["sweep_id"])
        print(f"   checked {json.dumps(verified['checked'])}, {len(verified['differences'])} differences")
        deploy(sweep)
        rows, labels = train.split()[2]
        say(f"Sending {len(rows)} held-out rows to {url}/endpoints/default/digits/invocations")
        predictions, headers = score(url, token, rows.tolist())
        right = sum(int(got) == int(want) for got, want in zip(predictions, labels))
        served = right / len(rows)
        print(f"   accuracy measured through the endpoint: {served:.4f}; request id {headers['x-request-id']}")
        say(f"Where does that answer come from? (trialog lineage {headers['x-request-id']})")
        trialog("lineage", headers["x-request-id"], show=True)
        result = {
            "trials": len(trials), "stopped_early": len(stopped), "preemptions": sweep["preemptions"],
            "best_val_accuracy": sweep["best"]["value"], "served_accuracy": served, "served_rows": len(rows),
            "verify_differences": len(verified["differences"]), "seconds": round(time.monotonic() - began, 1)}
        good = (
            sweep["state"] == "Completed" and len(trials) == 32 and len(predictions) == len(rows) and stopped
            and served > 0.9 and sweep["best"]["value"] > 0.9 and not verified["differences"]
            and sweep["preemptions"] > 0
            and all(trial["state"] in ("Completed", "EarlyStopped") for trial in trials))
        if KEEP and server:
            say(f"Trialog stays up at {url} (token in {DATA}/admin.token); Ctrl-C ends it")
        print(json.dumps(result), flush=True)
        if not good:
            raise DemoError("the result is not what the demo promises; see the line above")
        if KEEP and server:
            try:
                server.wait()
            except KeyboardInterrupt:
                pass
    finally:
        if server:
            stop(server)


def stop(server):
    """Ends the server with its nodes and what runs there; without it they would wait for the next start."""
    subprocess.run([TRIALOG, "down", "--data", str(DATA)], env=ENVIRONMENT)
    # A server that never came as far as to be found there.
    if server.poll() is None:
        server.kill()
    server.wait()


ENVIRONMENT = dict(os.environ)

if __name__ == "__main__":
    try:
        demo(time.monotonic())
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(1)
