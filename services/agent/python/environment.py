"""Makes the virtual environment of a job, once for all jobs of this machine that ask for the same one.

    environment.py FOLDER [REQUIREMENTS]

The node agent has it run before the job, by the interpreter that the environment is to have; it needs the standard
library only. Whoever comes while another one is at work waits for that. Invariant: FOLDER/ready is written last, and
what is there without it is made anew: neither a failed build nor a killed one is ever used. What pip says goes to the
standard error, which is the job's own log, and to FOLDER.log.
"""

import fcntl
import os
import shutil
import subprocess
import sys

PIP = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-r"]


def say(text):
    print(f"trialog: {text}", file=sys.stderr, flush=True)


def run(argv, log):
    """The exit code; what the command says is passed on line by line."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    for line in process.stdout:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        log.write(line)
        log.flush()
    return process.wait()


def make(folder, requirements):
    version = sys.version.split()[0]
    say(f"the Python environment is made: {sys.executable} ({version}), {requirements or 'nothing to install'}")
    shutil.rmtree(folder, ignore_errors=True)
    with open(folder + ".log", "wb") as log:
        code = run([sys.executable, "-m", "venv", folder], log)
        if code == 0 and requirements:
            code = run([os.path.join(folder, "bin", "python"), *PIP, requirements], log)
    if code != 0:
        # The next job tries again: an index that was away may be back, and nobody clears away by hand.
        shutil.rmtree(folder, ignore_errors=True)
        say(f"the Python environment cannot be made (exit code {code}); nothing of it is kept, its log says why")
        return code if code > 0 else 1
    with open(os.path.join(folder, "ready"), "w"):
        return 0


def main(folder, requirements=None):
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another job of this machine makes this Python environment; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(os.path.join(folder, "ready")):
            return 0
        return make(folder, requirements)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
