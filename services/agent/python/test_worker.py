"""Tests of worker.py as a real process: python3 -m unittest discover -s services/agent/python"""

import json
import os
import pickle
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))

PREDICTOR = """
class Doubler:
    def predict(self, rows):
        return [2 * sum(row) for row in rows]
"""


# Says that it has begun, and goes on when it is told to: both by named pipes, so that nothing is a matter of time.
HELD = """
import os
folder = os.environ['TRIALOG_MODEL_DIR']
def init(): pass
def run(raw):
    with open(folder + '/begun', 'w') as begun:
        begun.write('x')
    with open(folder + '/goes_on') as goes_on:
        goes_on.read()
    return 'done'
"""


class Running:
    """A worker, started like the agent starts it."""

    def __init__(self, folder, deep=""):
        self.folder = os.path.join(folder, deep) if deep else folder
        os.makedirs(self.folder, exist_ok=True)
        script = shutil.copy(os.path.join(HERE, "worker.py"), self.folder)
        environment = {
            "PATH": os.environ["PATH"],
            "TRIALOG_MODEL_DIR": os.path.join(folder, "model"),
            "PYTHONPATH": os.path.join(folder, "modules"),
        }
        self.process = subprocess.Popen(
            [sys.executable, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def address(self):
        ready = json.loads(self.process.stdout.readline())
        assert ready["trialog"] == "ready", ready
        return ready["address"].removeprefix("unix:")

    def connect(self):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(self.path)
        connection.settimeout(10)
        return connection

    def __enter__(self):
        self.path = self.address()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def ask(connection, kind, body, **more):
    send(connection, kind, body, **more)
    return read(connection)


def send(connection, kind, body, **more):
    header = {"id": "req_1", "kind": kind, "deadline_ms": 5000, "content_type": "application/json", "length": len(body)}
    encoded = json.dumps(header | more).encode()
    connection.sendall(struct.pack(">I", len(encoded)) + encoded + body)


def read(connection):
    stream = connection.makefile("rb")
    (size,) = struct.unpack(">I", stream.read(4))
    header = json.loads(stream.read(size))
    return header, stream.read(header["length"])


class WorkerTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        os.makedirs(os.path.join(self.folder, "model"))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def held(self):
        """A model that is held; answers how to wait until it has begun, and how to let it go on."""
        self.write("model/score.py", HELD)
        begun, goes_on = (os.path.join(self.folder, "model", name) for name in ("begun", "goes_on"))
        os.mkfifo(begun)
        os.mkfifo(goes_on)
        reader = os.open(begun, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)

        def await_begun():
            self.assertEqual(select.select([reader], [], [], 20)[0], [reader], "the request is not begun")
            self.assertEqual(os.read(reader, 10), b"x")

        return await_begun, lambda: open(goes_on, "w").close()

    def failed(self):
        running = Running(self.folder)
        out, error = running.process.communicate(timeout=20)
        self.assertEqual(out, "")
        self.code = running.process.returncode
        return error

    def test_score_script(self):
        # The most used way of Azure: a script with init and run.
        script = "def init():\n    global k\n    k = 3\ndef run(raw):\n    return {'got': raw, 'k': k}\n"
        self.write("model/score.py", script)
        with Running(self.folder) as worker, worker.connect() as connection:
            for body in (b'{"a": 1}', b"", "\u00e4".encode()):
                header, answer = ask(connection, "score", body)
                self.assertEqual((header["status"], header["id"]), ("ok", "req_1"))
                self.assertEqual(json.loads(answer), {"got": body.decode(), "k": 3})

    def test_missing_function_is_named(self):
        # A deployment that never gets ready without a word costs hours.
        self.write("model/score.py", "def init():\n    pass\n")
        self.assertIn("no function run()", self.failed())
        self.write("model/score.py", "def run(raw):\n    pass\n")
        self.assertIn("no function init()", self.failed())

    def test_a_start_that_is_hopeless_says_so(self):
        # Nobody waits for five starts of which each must fail; what may pass by itself is tried again.
        hopeless = ["def init(): pass\n", "import no_such_module\n", "def run(raw:\n"]
        for script in hopeless:
            self.write("model/score.py", script)
            self.failed()
            self.assertEqual(self.code, 78, script)
        self.write("model/score.py", "def init(): raise OSError('no route')\ndef run(raw): pass\n")
        self.assertIn("no route", self.failed())
        self.assertEqual(self.code, 1)

    def test_other_formats_are_refused_by_name(self):
        self.assertIn("NoModel", self.failed())
        self.write("model/model.onnx", "x")
        self.assertIn("NotOfferedYet: model.onnx", self.failed())
        self.write("model/MLmodel", "x")
        self.assertIn("NotOfferedYet: MLmodel", self.failed())

    def test_a_pickle_beside_its_description_is_served(self):
        # mlflow writes both; a folder that holds what can be served is served.
        self.write("modules/doubling.py", PREDICTOR)
        sys.path.insert(0, os.path.join(self.folder, "modules"))
        self.addCleanup(sys.path.remove, os.path.join(self.folder, "modules"))
        import doubling

        self.write("model/MLmodel", "flavors: {python_function: {loader_module: mlflow.sklearn}}")
        with open(os.path.join(self.folder, "model/model.pkl"), "wb") as file:
            pickle.dump(doubling.Doubler(), file)
        with Running(self.folder) as worker, worker.connect() as connection:
            self.assertEqual(json.loads(ask(connection, "invocations", b'{"inputs": [[1]]}')[1]), {"predictions": [2]})

    def test_invocations_of_a_script_are_json_in_and_json_out(self):
        # A client of the protocol reads the answer with any JSON reader, and is told when the fault is its own.
        script = (
            "import json\ncalls = 0\ndef init(): pass\ndef run(raw):\n    global calls\n    calls += 1\n"
            "    rows = json.loads(raw)['inputs']\n"
            "    if rows == 'calls': return calls\n    if rows == 'text': return json.dumps({'a': [float('nan')]})\n"
            "    if rows == 'bytes': return {'b': b'x'}\n"
            "    return {'predictions': [1e999 if x is None else x for x in rows]}\n"
        )
        self.write("model/score.py", script)
        with Running(self.folder) as worker, worker.connect() as connection:
            ragged = b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}'
            both = b'{"inputs": [1], "instances": [1]}'
            odd = (b"", b" ", b"{", b"[1]", b'{"foo": 1}', b'{"inputs": NaN}', b'{"inputs": [1]} x', b"\xff")
            for body in (*odd, both, ragged):
                header, _ = ask(connection, "invocations", body)
                self.assertEqual((header["status"], header["reason"]), ("error", "BadRequest"), body)
            for body, place in ((b'{"inputs": [[1, 2], [3, NaN]]}', "/inputs/1/1"), (b"-Infinity", "/")):
                header, _ = ask(connection, "invocations", body)
                self.assertIn(f", which stands at {place}", header["error"])
            header, _ = ask(connection, "invocations", b"a,b", content_type="text/csv")
            self.assertEqual(header["reason"], "UnsupportedMediaType")
            # The model has not been asked yet; a bare answer is wrapped, a whole one is not wrapped again.
            self.assertEqual(json.loads(ask(connection, "invocations", b'{"inputs": "calls"}')[1]), {"predictions": 1})
            self.assertEqual(json.loads(ask(connection, "invocations", b'{"inputs": [1]}')[1]), {"predictions": [1]})
            for kind in ("invocations", "score"):
                header, _ = ask(connection, kind, b'{"inputs": [1, null]}')
                self.assertEqual(header["reason"], "NonFiniteAnswer")
                self.assertIn("Infinity at /predictions/1", header["error"])
                header, answer = ask(connection, kind, b'{"inputs": [1, null]}', non_finite="text")
                self.assertEqual(json.loads(answer), {"predictions": [1, "Infinity"]})
                header, _ = ask(connection, kind, b'{"inputs": "text"}')
                self.assertEqual(header["reason"], "NonFiniteAnswer", "JSON as text holds a bare NaN")
                self.assertEqual(ask(connection, kind, b'{"inputs": "bytes"}')[0]["reason"], "BadAnswer")

    def test_predict_by_invocations(self):
        # What mlflow clients send.
        self.write("modules/doubling.py", PREDICTOR)
        sys.path.insert(0, os.path.join(self.folder, "modules"))
        self.addCleanup(sys.path.remove, os.path.join(self.folder, "modules"))
        import doubling

        os.makedirs(os.path.join(self.folder, "model/inner"))
        with open(os.path.join(self.folder, "model/inner/model.pkl"), "wb") as file:
            pickle.dump(doubling.Doubler(), file)
        with Running(self.folder) as worker, worker.connect() as connection:
            for body in (
                {"inputs": [[1, 2], [3, 4]]},
                {"instances": [[1, 2], [3, 4]]},
                {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
            ):
                header, answer = ask(connection, "invocations", json.dumps(body).encode())
                self.assertEqual((header["status"], json.loads(answer)), ("ok", {"predictions": [6, 14]}))
            header, answer = ask(connection, "score", b"[[1, 2]]")
            self.assertEqual(json.loads(answer), [6])
            for body in (b"{", b"[]", b"{}", b'{"inputs": [], "instances": []}'):
                header, _ = ask(connection, "invocations", body)
                self.assertEqual((header["status"], header["reason"]), ("error", "BadRequest"), body)

    def test_errors_are_answers(self):
        # One bad row must not take the replica down.
        script = "import sys\ndef init(): pass\ndef run(raw):\n    sys.exit(raw) if raw else 1 / 0\n"
        self.write("model/score.py", script)
        with Running(self.folder) as worker, worker.connect() as connection:
            header, _ = ask(connection, "score", b"")
            self.assertEqual((header["reason"], header["error"]), ("ModelError", "ZeroDivisionError: division by zero"))
            self.assertEqual(ask(connection, "score", b"x")[0]["reason"], "ModelError")
            self.assertEqual(ask(connection, "other", b"x")[0]["reason"], "BadRequest")

    def test_one_call_at_a_time_and_deadlines(self):
        # Models are not safe for threads; a caller that has gone must not be served.
        await_begun, go_on = self.held()
        with Running(self.folder) as worker, worker.connect() as first, worker.connect() as second:
            send(first, "score", b"")
            await_begun()
            # A nanosecond: it is over as soon as there was anything to wait for.
            send(second, "score", b"", deadline_ms=1e-6)
            go_on()
            header, answer = read(first)
            self.assertEqual((header["status"], answer), ("ok", b"done"))
            self.assertEqual(read(second)[0]["reason"], "DeadlineExceeded")

    def test_term_drains(self):
        # A new revision must not cut requests of the old one.
        await_begun, go_on = self.held()
        with Running(self.folder) as worker, worker.connect() as connection:
            send(connection, "score", b"")
            await_begun()
            worker.process.send_signal(signal.SIGTERM)
            go_on()
            self.assertEqual(read(connection)[1], b"done")
            self.assertEqual(worker.process.wait(timeout=10), 0)
            self.assertFalse(os.path.exists(worker.path))

    def test_long_folders_get_a_short_socket(self):
        # The system takes 107 bytes for the path of a socket.
        self.write("model/score.py", "def init(): pass\ndef run(raw): return raw\n")
        with Running(self.folder, deep="x" * 120) as worker, worker.connect() as connection:
            self.assertTrue(worker.path.startswith("/tmp/trialog-"))
            self.addCleanup(shutil.rmtree, os.path.dirname(worker.path), True)
            self.assertEqual(ask(connection, "score", b"hi")[1], b"hi")
            # Nothing of it stays: nobody else would ever remove it.
            worker.process.send_signal(signal.SIGTERM)
            self.assertEqual(worker.process.wait(timeout=10), 0)
            self.assertFalse(os.path.exists(os.path.dirname(worker.path)))


if __name__ == "__main__":
    unittest.main()
