"""Tests of environment.py as a real process: python3 -m unittest discover -s services/agent/python"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

import environment

HERE = os.path.dirname(os.path.abspath(__file__))


def wheel(folder):
    """A package that needs no index."""
    path = os.path.join(folder, "ownthing-1.0-py3-none-any.whl")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ownthing.py", "VALUE = 7\n")
        file.writestr("ownthing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: ownthing\nVersion: 1.0\n")
        file.writestr("ownthing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("ownthing-1.0.dist-info/RECORD", "")
    return path


class EnvironmentTest(unittest.TestCase):
    def test_a_whole_environment_is_kept_and_a_failed_one_is_not(self):
        # A failure that is kept fails every later trial too, also when the index is back.
        with tempfile.TemporaryDirectory() as folder:
            requirements = os.path.join(folder, "requirements.txt")
            environment = os.path.join(folder, "kept", "abc")

            def made(text):
                with open(requirements, "w") as file:
                    file.write(text + "\n")
                argv = [sys.executable, os.path.join(HERE, "environment.py"), environment, requirements]
                return subprocess.run(argv, capture_output=True, text=True, cwd=folder)

            failed = made("./absent-1.0-py3-none-any.whl")
            self.assertNotEqual(failed.returncode, 0)
            self.assertIn("absent-1.0", failed.stderr)
            self.assertEqual(failed.stderr.splitlines()[-1].split(":")[0], "trialog")
            self.assertFalse(os.path.exists(environment))
            first = made(wheel(folder))
            self.assertEqual((first.returncode, first.stdout), (0, ""), first.stderr)
            self.assertIn("ownthing", first.stderr)
            with open(environment + ".log") as log:
                self.assertIn("ownthing", log.read(), "the log is kept")
            python = os.path.join(environment, "bin", "python")
            used = subprocess.run([python, "-c", "import ownthing; print(ownthing.VALUE)"], capture_output=True)
            self.assertEqual(used.stdout, b"7\n")
            self.assertEqual(made("another thing").stderr, "", "it is there")

    def test_what_leads_into_the_attempt_is_not_kept_and_a_copy_of_it_is(self):
        # Every later job would get an environment whose package is gone with the attempt that made it.
        for links in [True, False]:
            with self.subTest(links=links), tempfile.TemporaryDirectory() as folder:
                attempt = os.path.join(folder, "attempt")
                os.makedirs(os.path.join(attempt, "work"))
                shutil.copy(os.path.join(HERE, "environment.py"), attempt)
                path = wheel(os.path.join(attempt, "work"))
                with zipfile.ZipFile(path, "a") as file:
                    if links:
                        file.writestr("__editable__.ownthing.pth", f"{attempt}/work\n")
                requirements = os.path.join(attempt, "requirements.txt")
                with open(requirements, "w") as file:
                    file.write(path + "\n")
                kept = os.path.join(folder, "kept", "abc")
                argv = [sys.executable, os.path.join(attempt, "environment.py"), kept, requirements]
                made = subprocess.run(argv, capture_output=True, text=True, cwd=folder)
                self.assertEqual(made.returncode, int(links), made.stderr)
                self.assertEqual("leave -e out" in made.stderr, links, made.stderr)
                self.assertEqual(os.path.exists(kept), not links)

    def test_a_link_is_seen_by_what_pip_writes_of_it(self):
        with tempfile.TemporaryDirectory() as folder:
            attempt, info = os.path.join(folder, "attempt"), os.path.join(folder, "venv", "own-1.0.dist-info")
            os.makedirs(attempt)
            os.makedirs(info)
            addresses = [(f"file://{attempt}/work", True), ("file:///opt/own", False), ("https://a/b", False)]
            for url, is_link in addresses:
                for editable in [True, False]:
                    with open(os.path.join(info, "direct_url.json"), "w") as file:
                        json.dump({"url": url, "dir_info": {"editable": editable}}, file)
                    found = environment.link_into(os.path.join(folder, "venv"), attempt)
                    self.assertEqual(found, "own-1.0.dist-info" if editable and is_link else None)
            os.symlink(os.path.join(attempt, "own.py"), os.path.join(folder, "venv", "own.py"))
            self.assertEqual(environment.link_into(os.path.join(folder, "venv"), attempt), "own.py")

    def test_those_that_nobody_has_used_for_long_go_and_no_other(self):
        # A machine whose disk is full of old environments runs nothing; one that loses what a job runs with fails it.
        with tempfile.TemporaryDirectory() as cache:
            def kept():
                return sorted(name for name in os.listdir(cache) if os.path.isdir(os.path.join(cache, name)))

            now = time.time()
            for name, hours in [("running", 9), ("oldest", 8), ("older", 7), ("old", 6), ("young", 0), ("new", 0)]:
                os.makedirs(os.path.join(cache, name, "bin"))
                with open(os.path.join(cache, name, "bin", "weight"), "wb") as file:
                    file.write(bytes(1000))
                open(os.path.join(cache, name, "ready"), "w").close()
                open(os.path.join(cache, name + ".log"), "w").close()
                os.utime(os.path.join(cache, name, "ready"), (now - hours * 3600,) * 2)
            os.makedirs(os.path.join(cache, "half"))  # one that is being made
            os.makedirs(os.path.join(cache, "killed"))  # one whose build was
            maker = open(os.path.join(cache, "half.lock"), "w")
            fcntl.flock(maker, fcntl.LOCK_EX)
            self.addCleanup(maker.close)
            path = os.path.join(cache, "running", "bin") + ":" + os.environ["PATH"]
            job = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env={"PATH": path})
            try:
                environment.prune(os.path.join(cache, "new"), count_max=6, bytes_max=10**6)
                self.assertEqual(kept(), ["half", "new", "old", "older", "running", "young"])
                self.assertFalse(os.path.exists(os.path.join(cache, "oldest.log")))
                environment.prune(os.path.join(cache, "new"), count_max=6, bytes_max=4500)
                self.assertEqual(kept(), ["half", "new", "old", "running", "young"], "the least recently used first")
                environment.prune(os.path.join(cache, "new"), count_max=0, bytes_max=0)
                self.assertEqual(kept(), ["half", "new", "running", "young"], "not what was used just now, or is in use")
            finally:
                job.stdin.close()
                job.wait()
            environment.prune(os.path.join(cache, "new"), count_max=0, bytes_max=0)
            self.assertEqual(kept(), ["half", "new", "young"])


if __name__ == "__main__":
    unittest.main()
