"""Makes the virtual environment of a job, once for all jobs of this machine that ask for the same one.

    environment.py FOLDER [REQUIREMENTS]

The node agent has it run before the job, by the interpreter that the environment is to have; it needs the standard
library only. Whoever comes while another one is at work waits for that. Invariant: FOLDER/ready is written last, and
what is there without it is made anew: neither a failed build nor a killed one is ever used. What pip says goes to the
standard error, which is the job's own log, and to FOLDER.log.

Whoever has made one clears away those that were not used for longest, beyond a number and a size. When FOLDER/ready was
last written says when one was last used: the agent writes it for each job. Invariant: nothing goes that was used within
the hour, for its job may not have begun yet, or that a process has in its PATH, as the processes of its jobs have.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse

PIP = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-r"]

# Environments that are kept on a machine, and the bytes of all of them.
COUNT_MAX = 32
BYTES_MAX = 64 << 30
# Seconds: far more than there are between the choice of an environment and the start of its job.
FRESH_SECONDS = 3600


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


def link_into(folder, attempt):
    """What is installed as a link to a file below `attempt`, which goes; None when nothing is.

    A folder of the code that was installed as a copy has its address in direct_url.json too, and is none.
    """
    attempt = os.path.realpath(attempt)

    def leads_there(path):
        return os.path.realpath(path).startswith(attempt + os.sep)

    for where, folders, names in os.walk(folder):
        for name in names + folders:
            path = os.path.join(where, name)
            if os.path.islink(path):
                if leads_there(path):
                    return name
                continue
            if not name.endswith((".pth", ".egg-link", "direct_url.json")):
                continue
            with open(path, "rb") as file:
                content = file.read()
            if name == "direct_url.json":
                facts = json.loads(content)
                url = facts.get("url", "")
                is_link = facts.get("dir_info", {}).get("editable") and url.startswith("file://")
                if is_link and leads_there(urllib.parse.unquote(url[len("file://"):])):
                    return os.path.basename(where)
            elif any(line.startswith("/") and leads_there(line) for line in os.fsdecode(content).splitlines()):
                return name
    return None


def make(folder, requirements):
    version = sys.version.split()[0]
    say(f"making the Python environment with {sys.executable} ({version}), {requirements or 'nothing to install'} …")
    shutil.rmtree(folder, ignore_errors=True)
    with open(folder + ".log", "wb") as log:
        code = run([sys.executable, "-m", "venv", folder], log)
        if code == 0 and requirements:
            code = run([os.path.join(folder, "bin", "python"), *PIP, requirements], log)
    link = link_into(folder, os.path.dirname(os.path.abspath(__file__))) if code == 0 else None
    if link:
        code = 1
        say(f"requirements: '{link}' would be installed as a link into this attempt, which goes; leave -e out")
    if code != 0:
        # The next job tries again: an index that was away may be back, and nobody clears away by hand.
        shutil.rmtree(folder, ignore_errors=True)
        say(f"the Python environment cannot be made (exit code {code}); nothing of it is kept, its log says why")
        return code if code > 0 else 1
    with open(os.path.join(folder, "ready"), "w"):
        return 0


def last_used(folder):
    """When it was last used; None when it is not whole."""
    try:
        return os.stat(os.path.join(folder, "ready")).st_mtime
    except OSError:
        return None


def size_of(folder):
    """Bytes of its files; links lead to what is another's."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except OSError:
                pass
    return total


def in_use(folders):
    """Those that some process of this user has in its environment, as the first of its PATH."""
    used, sought = set(), {folder: os.fsencode(os.path.join(folder, "bin")) for folder in folders}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/environ", "rb") as file:
                variables = file.read()
        except OSError:
            continue
        used.update(folder for folder, programs in sought.items() if programs in variables)
    return used


def remove(folder, used_at):
    """Unless somebody makes it, or has come to use it meanwhile."""
    with open(folder + ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        going = folder + ".going"
        os.rename(folder, going)
        if last_used(going) != used_at:
            os.rename(going, folder)
            return False
        shutil.rmtree(going, ignore_errors=True)
        if os.path.exists(folder + ".log"):
            os.unlink(folder + ".log")
    return True


def prune(own, count_max=COUNT_MAX, bytes_max=BYTES_MAX):
    """Clears away what was not used for longest, beside `own`, until no more than these are there."""
    cache = os.path.dirname(own)
    folders = [entry.path for entry in os.scandir(cache) if entry.is_dir(follow_symlinks=False)]
    for folder in [folder for folder in folders if folder.endswith(".going")]:
        shutil.rmtree(folder, ignore_errors=True)
        folders.remove(folder)
    sizes = {folder: size_of(folder) for folder in folders}
    used_at = {folder: last_used(folder) for folder in folders}
    used = in_use(folders)
    fresh = time.time() - FRESH_SECONDS
    # What is not whole is the rest of a build that was killed, unless its lock is held.
    for folder in sorted(folders, key=lambda folder: used_at[folder] or 0.0):
        is_whole = used_at[folder] is not None
        fits = len(sizes) <= count_max and sum(sizes.values()) <= bytes_max
        if folder == own or folder in used or (is_whole and (fits or used_at[folder] > fresh)):
            continue
        if remove(folder, used_at[folder]):
            del sizes[folder]
            say(f"the Python environment {folder} is cleared away: it was not used for longest")


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
        code = make(folder, requirements)
    if code == 0:
        try:
            prune(folder)
        except OSError as error:
            say(f"older Python environments are not cleared away: {error}")
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
