"""The inference worker: loads one model and answers requests on a Unix socket.

The node agent starts it for a replica of a deployment. It needs the standard library only; numpy, scikit-learn or
joblib are imported when the model asks for them. It is not a web server: the inference router speaks HTTP, and a frame
format with this.

A frame is a big-endian u32, that many bytes of JSON header, and `length` bytes of body:
request {"id", "kind": "score" | "invocations", "deadline_ms", "content_type", "non_finite"?: "text", "length"}
answer  {"id", "status": "ok" | "error", "reason"?, "error"?, "content_type", "length"}
`deadline_ms` is the time that the caller still waits; a request that would begin later is not begun. JSON has no NaN
and no infinities: they are an error, unless the caller takes them as the texts "NaN", "Infinity" and "-Infinity".
"""

import hashlib
import importlib.util
import json
import math
import os
import pickle
import signal
import socket
import struct
import sys
import threading
import time
import traceback

# Bytes. A header is small; a body is what the router lets through and a margin.
HEADER_BYTES_MAX = 64 << 10
BODY_BYTES_MAX = 64 << 20
# Bytes. The system takes 107 for the path of a socket; some room is left for file systems that add to it.
SOCKET_PATH_BYTES_MAX = 99
# Where sockets are whose own folder is too long for one; the agent removes what a killed worker left.
SHORT_PREFIX = "/tmp/trialog-"
# Seconds that running requests are given to end after SIGTERM.
DRAIN_SECONDS_MAX = 30.0
# Characters of an error that go to the caller; the log has all of it.
ERROR_CHARACTERS_MAX = 2000
# The exit code of a start that would fail the next time too; the code of configuration errors in sysexits.h.
HOPELESS = 78


class Refused(Exception):
    """A request or a model that cannot be served, with a stable reason."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


# The model


class ScoreScript:
    """score.py with init() and run(raw: str)."""

    def __init__(self, path):
        folder = os.path.dirname(path)
        sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location("score", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["score"] = module
        try:
            spec.loader.exec_module(module)
        except (ModuleNotFoundError, SyntaxError) as error:
            traceback.print_exc()
            raise Refused("BadScript", f"score.py: {type(error).__name__}: {error}")
        for name in ("init", "run"):
            if not callable(getattr(module, name, None)):
                raise Refused("MissingFunction", f"score.py defines no function {name}(); it needs init() and run(raw)")
        self.run = module.run
        module.init()

    def score(self, body, _content_type):
        return self.run(as_text(body))

    def invocations(self, body, content_type):
        check_invocation(body, content_type)
        answer = self.run(as_text(body))
        if isinstance(answer, str):
            # Scripts of the Azure kind return JSON as text.
            try:
                answer = json.loads(answer)
            except ValueError:
                pass
        is_whole = isinstance(answer, dict) and "predictions" in answer
        return answer if is_whole else {"predictions": answer}


class Predictor:
    """An object with predict(), from a pickle or a joblib file."""

    def __init__(self, path):
        if path.endswith(".joblib"):
            try:
                import joblib
            except ImportError as error:
                raise Refused("MissingModule", f"model.joblib needs the module joblib in this environment: {error}")
            self.model = joblib.load(path)
        else:
            with open(path, "rb") as file:
                self.model = pickle.load(file)
        if not callable(getattr(self.model, "predict", None)):
            kind = type(self.model).__name__
            raise Refused("MissingFunction", f"{os.path.basename(path)} holds a {kind} without a function predict()")

    def score(self, body, _content_type):
        document = parsed(body)
        if isinstance(document, dict):
            return self.answer(document)
        return self.predict(document)

    def invocations(self, body, content_type):
        return self.answer(check_invocation(body, content_type))

    def answer(self, document):
        return {"predictions": self.predict(rows_of(document))}

    def predict(self, rows):
        return self.model.predict(as_array(rows))


def check_invocation(body, content_type):
    """The document of an invocation, before the model is asked."""
    kind = content_type.split(";")[0].strip().lower()
    if kind not in ("", "application/json", "text/plain", "application/x-www-form-urlencoded") and "json" not in kind:
        raise Refused("UnsupportedMediaType", f"invocations take application/json, not {kind}")
    document = parsed(body)
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise Refused("BadRequest", f"send a JSON object with inputs, instances or dataframe_split, not a {kind}")
    rows_of(document)
    return document


def as_text(body):
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("BadRequest", f"the body is not UTF-8: {error}")


class Constant(str):
    """A number that JSON does not have, as it was written."""


def strict(text):
    """JSON to the letter: Python alone takes NaN and Infinity."""

    def refuse(word):
        # Only the whole document says where the word stands in it.
        place = place_of_constant(json.loads(text, parse_constant=Constant))
        raise ValueError(f"JSON has no {word}" + (f", which stands at {place}" if place else ""))

    return json.loads(text, parse_constant=refuse)


def place_of_constant(value, place=""):
    if isinstance(value, Constant):
        return place or "/"
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next(filter(None, (place_of_constant(part, f"{place}/{key}") for key, part in parts)), None)


def parsed(body):
    if not body.strip():
        raise Refused("BadRequest", "the body is empty; send JSON")
    try:
        return strict(body)
    except ValueError as error:
        raise Refused("BadRequest", f"the body is not JSON: {error}")


def rows_of(document):
    """The rows of an invocation: inputs | instances | dataframe_split {columns, data}."""
    keys = [key for key in ("inputs", "instances", "dataframe_split") if key in document]
    if len(keys) != 1:
        got = ", ".join(sorted(map(str, document))) or "nothing"
        raise Refused("BadRequest", f"send exactly one of inputs, instances, dataframe_split; got {got}")
    rows = document[keys[0]]
    if keys[0] != "dataframe_split":
        return rows
    if not isinstance(rows, dict) or not isinstance(rows.get("data"), list):
        raise Refused("BadRequest", "dataframe_split: send {columns, data}, data a list of rows")
    columns = rows.get("columns")
    for number, row in enumerate(rows["data"] if columns is not None else []):
        if not isinstance(row, list) or len(row) != len(columns):
            raise Refused("BadRequest", f"dataframe_split: row {number} of data has not the {len(columns)} columns")
    return frame(rows)


def frame(split):
    """A data frame where pandas is there, for models that look at names; else the rows alone."""
    try:
        import pandas
    except ImportError:
        return split["data"]
    return pandas.DataFrame(split["data"], columns=split.get("columns"), index=split.get("index"))


def as_array(rows):
    """numpy arrays of lists, where numpy is there."""
    if not isinstance(rows, list):
        return rows
    try:
        import numpy
    except ImportError:
        return rows
    return numpy.asarray(rows)


def listed(value):
    """Arrays as lists, their numbers as plain numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(type(value).__name__)


def plain(value, non_finite, place=""):
    """What JSON can hold of a value at `place`, a JSON pointer."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(inner, non_finite, f"{place}/{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, non_finite, f"{place}/{index}") for index, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        word = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        if non_finite == "text":
            return word
        where = place or "the whole of it"
        how = "send trialog-non-finite: text to get such values as texts"
        raise Refused("NonFiniteAnswer", f"the model's answer holds {word} at {where}, which JSON cannot hold; {how}")
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise Refused("BadAnswer", f"the model's answer holds a {type(value).__name__} at {place or '/'}; JSON has none")


def load(folder):
    """Recognises what is in the model's folder, in the order of the contract."""
    if not folder or not os.path.isdir(folder):
        raise Refused("NoModel", f"TRIALOG_MODEL_DIR is '{folder}', which is not a folder")
    found = find(folder)
    if found is None:
        names = ", ".join(sorted(os.listdir(folder))) or "nothing"
        raise Refused("NoModel", f"no score.py, MLmodel, model.onnx, model.pkl or model.joblib among: {names}")
    name, path = found
    if name == "score.py":
        return ScoreScript(path)
    if name in NOT_OFFERED:
        fix = "add a score.py with init() and run(raw)"
        raise Refused("NotOfferedYet", f"{name}: this format is not offered yet; {fix}")
    return Predictor(path)


# What a folder may hold, the first goes first; and what of it cannot be served yet.
FORMATS = ("score.py", "MLmodel", "model.onnx", "model.pkl", "model.joblib")
NOT_OFFERED = ("MLmodel", "model.onnx")


def find(folder):
    """In the folder itself, or in the only folder that it holds: an artifact may be a folder of its own."""
    there = [name for name in FORMATS if os.path.isfile(os.path.join(folder, name))]
    # MLmodel describes the pickle beside it: as long as only that can be served, it is.
    name = next((name for name in there if name not in NOT_OFFERED), there[0] if there else None)
    if name:
        return name, os.path.join(folder, name)
    inner = [os.path.join(folder, name) for name in os.listdir(folder)]
    if len(inner) == 1 and os.path.isdir(inner[0]):
        return find(inner[0])
    return None


# Frames


def read_exactly(connection, count):
    """The bytes, or None when the other side closed before the first one."""
    data = bytearray()
    while len(data) < count:
        piece = connection.recv(min(count - len(data), 1 << 20))
        if not piece:
            if data:
                raise ConnectionError("closed within a frame")
            return None
        data += piece
    return bytes(data)


def read_frame(connection):
    """Header and body, or None at the end."""
    prefix = read_exactly(connection, 4)
    if prefix is None:
        return None
    (size,) = struct.unpack(">I", prefix)
    if not 0 < size <= HEADER_BYTES_MAX:
        raise ConnectionError(f"a header of {size} bytes")
    header = json.loads(read_exactly(connection, size) or b"")
    length = header.get("length", 0)
    if not isinstance(length, int) or not 0 <= length <= BODY_BYTES_MAX:
        raise ConnectionError(f"a body of {length} bytes")
    body = read_exactly(connection, length) if length else b""
    if body is None:
        raise ConnectionError("closed within a frame")
    return header, body


def write_frame(connection, header, body=b""):
    header["length"] = len(body)
    encoded = json.dumps(header).encode()
    connection.sendall(struct.pack(">I", len(encoded)) + encoded + body)


# The server


class Worker:
    """One model, one lock, a thread for each connection."""

    def __init__(self, model):
        self.model = model
        # Models are rarely safe to be called by two threads; more replicas are the way to more at once.
        self.model_lock = threading.Lock()
        self.idle = threading.Condition()
        self.running = 0
        self.draining = False

    def answer(self, header, body, arrived):
        """Header and body of the answer."""
        kind, identity = header.get("kind"), header.get("id")
        try:
            if kind not in ("score", "invocations"):
                raise Refused("BadRequest", f"kind '{kind}': score or invocations")
            with self.model_lock:
                deadline = header.get("deadline_ms")
                if deadline and (time.monotonic() - arrived) * 1000 > deadline:
                    raise Refused("DeadlineExceeded", f"not begun within {deadline} ms")
                result = getattr(self.model, kind)(body, header.get("content_type", ""))
            content_type, answer = encoded(result, kind, header.get("non_finite", ""))
            return {"id": identity, "status": "ok", "content_type": content_type}, answer
        except Refused as refused:
            return failure(identity, refused.reason, str(refused)), b""
        except BaseException as error:
            traceback.print_exc()
            # A script that calls exit() must not end the worker without an answer.
            return failure(identity, "ModelError", f"{type(error).__name__}: {error}"), b""

    def serve(self, connection):
        """One connection: a request, its answer, the next request."""
        with connection:
            try:
                while (read := read_frame(connection)) is not None:
                    arrived = time.monotonic()
                    with self.idle:
                        self.running += 1
                    try:
                        header, answer = self.answer(read[0], read[1], arrived)
                        write_frame(connection, header, answer)
                    finally:
                        with self.idle:
                            self.running -= 1
                            self.idle.notify_all()
                    if self.draining:
                        return
            except (OSError, ValueError, AttributeError) as error:
                print(f"connection: {error}", file=sys.stderr, flush=True)

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def drain(self):
        """Waits until the running requests are answered."""
        self.draining = True
        with self.idle:
            self.idle.wait_for(lambda: self.running == 0, timeout=DRAIN_SECONDS_MAX)


def failure(identity, reason, message):
    message = message[:ERROR_CHARACTERS_MAX]
    return {"id": identity, "status": "error", "reason": reason, "error": message, "content_type": "text/plain"}


def encoded(result, kind, non_finite):
    """The answer's type and bytes; what is called JSON is JSON to the letter."""
    if kind == "score" and isinstance(result, (bytes, bytearray)):
        return "application/octet-stream", bytes(result)
    if kind == "score" and isinstance(result, str):
        # Scripts of the Azure kind return JSON as text.
        try:
            strict(result)
            return "application/json", result.encode()
        except ValueError:
            pass
        try:
            result = json.loads(result)
        except ValueError:
            return "text/plain; charset=utf-8", result.encode()
    try:
        text = json.dumps(result, allow_nan=False, default=listed)
    except (TypeError, ValueError):
        # Rare, and slow: what is the matter, and where.
        text = json.dumps(plain(result, non_finite), allow_nan=False)
    return "application/json", text.encode()


def socket_path(folder):
    """In the attempt's folder, or a short one where that is too long for a socket."""
    path = os.path.join(folder, "worker.sock")
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = SHORT_PREFIX + name
    os.makedirs(short, mode=0o700, exist_ok=True)
    if os.stat(short).st_uid != os.getuid():
        raise Refused("NoSocket", f"{short} belongs to another user")
    return os.path.join(short, "worker.sock")


def remove_socket(path):
    """With the short folder, if it has one: the attempt's own goes with the attempt."""
    if os.path.lexists(path):
        os.unlink(path)
    if os.path.dirname(path).startswith(SHORT_PREFIX):
        os.rmdir(os.path.dirname(path))


def say(message):
    print(json.dumps(message), flush=True)


def main():
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked in all threads and taken by sigwait below.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        path = socket_path(os.path.dirname(os.path.abspath(__file__)))
    except Refused as refused:
        print(f"trialog: {refused.reason}: {refused}", file=sys.stderr, flush=True)
        return 1
    try:
        model = load(os.environ.get("TRIALOG_MODEL_DIR", ""))
    except Refused as refused:
        print(f"trialog: {refused.reason}: {refused}", file=sys.stderr, flush=True)
        return HOPELESS
    except BaseException:
        print("trialog: the model cannot be loaded", file=sys.stderr)
        traceback.print_exc()
        return 1
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(128)
    worker = Worker(model)
    threading.Thread(target=worker.accept, args=(listener,), daemon=True).start()
    say({"trialog": "ready", "address": f"unix:{path}"})
    signal.sigwait(signals)
    listener.close()
    worker.drain()
    remove_socket(path)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of open connections, and of libraries, do not hold the end up.
    os._exit(code)
