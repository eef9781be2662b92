"""Tests of environment.py as a real process: python3 -m unittest discover -s services/agent/python"""

import os
import subprocess
import sys
import tempfile
import unittest
import zipfile

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


if __name__ == "__main__":
    unittest.main()
