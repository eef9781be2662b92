"""Follows the facts of sweeps through Kafka and prints a line for each trial that is stopped, with the reason.

    python follow.py --bootstrap HOST:PORT [--prefix trialog] [--cursor follow.json] [--once] [-X KEY=VALUE ...]

It is a reader by the rules of docs/events.md and knows nothing of Trialog but that page and the files of proto/, which it compiles at
its start. The cursor file says up to where everything is printed: started again it goes on behind that.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
import tempfile
import time

import confluent_kafka as kafka
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
SERVICE = "sweeps"
LOOK_SECONDS = 1.0
# Why a trial ends where no policy says it.
STOPPED_BY = {
    "user": "it was stopped by a user",
    "sweep": "its sweep was canceled or has failed",
    "sweep_timeout": "the sweep's time is up",
    "trial_timeout": "its time is up",
    "target_reached": "the target is reached",
    "max_resource": "it has come as far as its policy lets any trial come",
    "rung": "it waits at a rung",
    "pause": "it waits until its sweep goes on",
}


class Halt(Exception):
    """What the topic holds does not go on from the cursor: a person has to look at it."""


def messages(folder):
    """The messages of the service's facts, compiled from proto/ into a folder."""
    wanted = [f"trialog/{SERVICE}/v1/{SERVICE}_facts.proto", "trialog/runs/v1/runs_facts.proto", "trialog/compute/v1/job.proto"]
    if protoc.main(["protoc", f"-I{PROTO}", f"--python_out={folder}", *wanted]) != 0:
        raise SystemExit(f"{PROTO} cannot be compiled")
    sys.path.insert(0, folder)
    return importlib.import_module(f"trialog.{SERVICE}.v1.{SERVICE}_facts_pb2")


class Cursor:
    """What is done, and what later lines need of it: kept together, so that both are always of the same moment."""

    def __init__(self, path):
        self.path = path
        kept = json.loads(path.read_text()) if path.exists() else {}
        self.source = kept.get("source", "")
        # Of each partition the last position that was handled, and the offset behind it.
        self.partitions = {int(number): tuple(at) for number, at in kept.get("partitions", {}).items()}
        # What sweeps are called, and what they look at.
        self.sweeps = kept.get("sweeps", {})

    def offset(self, partition):
        return self.partitions[partition][1] if partition in self.partitions else kafka.OFFSET_BEGINNING

    def position(self, partition):
        return self.partitions[partition][0] if partition in self.partitions else 0

    def save(self):
        draft = self.path.with_name(self.path.name + ".draft")
        with draft.open("w") as file:
            json.dump({"source": self.source, "partitions": self.partitions, "sweeps": self.sweeps}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)


def seen(verdict, metric, goal):
    """`asha saw rmse 4.73 > 1.84 at interval 3`."""
    against = ""
    if verdict.HasField("threshold"):
        sign = {"minimize": ">", "maximize": "<"}.get(goal, "against")
        against = f" {sign} {verdict.threshold:.6g}"
    return f"{verdict.policy} saw {metric or 'its metric'} {verdict.value:.6g}{against} at interval {verdict.interval}"


def line(stop, sweep):
    """What a stop is in words."""
    ends = "waits" if stop.by in ("rung", "pause") else "stops"
    reason = STOPPED_BY.get(stop.by, stop.by)
    if stop.HasField("verdict"):
        reason = seen(stop.verdict, sweep.get("metric"), sweep.get("goal"))
    decision = f", decision {stop.decision}" if stop.decision else ""
    return f"{sweep.get('name', stop.sweep_id)}/{stop.trial_index} {ends}: {reason} ({stop.run_id}{decision})"


class Follower:
    def __init__(self, facts, cursor):
        self.facts, self.cursor = facts, cursor

    def take(self, record):
        """Handles one record. Repeated ones and watermarks change nothing but the offset."""
        headers = {name: value.decode() for name, value in record.headers() or []}
        partition, position = record.partition(), int(headers["position"])
        if self.cursor.source not in ("", headers["source"]):
            raise Halt(f"the topic is of {headers['source']} now, and {self.cursor.path} counts in {self.cursor.source}: it is another log, "
                       f"restored or made anew; remove the file to begin again with it")
        self.cursor.source = headers["source"]
        last = self.cursor.position(partition)
        if position > last:
            if headers["type"] != "Watermark":
                previous = int(headers.get("previous", 0))
                if previous > last and last > 0:
                    raise Halt(f"position {previous} of partition {partition} is missing between {last} and {position}")
                self.handle(headers, record.value())
            last = position
        self.cursor.partitions[partition] = (last, record.offset() + 1)

    def handle(self, headers, value):
        if "unreadable" in headers:
            print(f"position {headers['position']} passed over, its own service cannot read it: {headers['unreadable']}", file=sys.stderr)
            return
        # Types and fields that came later than this program are passed over.
        message = getattr(self.facts, headers["type"], None)
        if message is None:
            return
        fact, sweeps = message.FromString(value), self.cursor.sweeps
        match headers["type"]:
            case "SweepSubmitted":
                sweeps[fact.sweep_id] = {"name": fact.name}
            case "TrialProposed":
                of = fact.job if fact.HasField("job") else fact
                sweeps.setdefault(fact.sweep_id, {}).update(metric=of.primary_metric, goal=of.goal)
            case "SweepDeleted":
                sweeps.pop(fact.sweep_id, None)
            case "TrialStopRequested":
                print(line(fact, sweeps.get(fact.sweep_id, {})), flush=True)


def partitions(consumer, topic):
    """The partitions of the topic, once its relay has made it."""
    while True:
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        if found.error is None:
            return list(found.partitions)
        if found.error.code() != kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise kafka.KafkaException(found.error)
        # Nobody tells when there is one.
        time.sleep(LOOK_SECONDS)


def follow(consumer, topic, follower, once):
    cursor, waiting = follower.cursor, set(partitions(consumer, topic))
    consumer.assign([kafka.TopicPartition(topic, number, cursor.offset(number)) for number in waiting])
    while waiting or not once:
        try:
            for record in consumer.consume(num_messages=500, timeout=LOOK_SECONDS):
                error = record.error()
                if error is None:
                    follower.take(record)
                elif error.code() == kafka.KafkaError._PARTITION_EOF:
                    waiting.discard(record.partition())
                elif error.code() == kafka.KafkaError._AUTO_OFFSET_RESET:
                    raise Halt(f"partition {record.partition()} has no more what follows {cursor.path}: it was away for longer than the topic "
                               f"keeps facts. GET /api/v1/workspaces/W/events has all of them; remove the file to begin with what is there")
                else:
                    raise kafka.KafkaException(error)
        finally:
            # What was printed is not printed again, unless the process is killed just before this.
            cursor.save()


def setting(text):
    key, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bootstrap", required=True, help="brokers, HOST:PORT with commas between")
    parser.add_argument("--prefix", default="trialog", help="feed.kafka.prefix of the installation")
    parser.add_argument("--cursor", type=pathlib.Path, default=pathlib.Path("follow.json"), help="the file that says up to where all is done")
    parser.add_argument("--once", action="store_true", help="end when all that is there is printed")
    parser.add_argument("-X", dest="settings", metavar="KEY=VALUE", type=setting, action="append", default=[],
                        help="more for the client, as security.protocol=ssl and ssl.ca.location=ca.pem")
    arguments = parser.parse_args()
    consumer = kafka.Consumer({
        # The client asks for a group; offsets are kept in the cursor file and not with the brokers.
        "bootstrap.servers": arguments.bootstrap, "group.id": "follow-events", "enable.auto.commit": False,
        "auto.offset.reset": "error", "enable.partition.eof": True, **dict(arguments.settings),
    })
    with tempfile.TemporaryDirectory() as folder:
        follower = Follower(messages(folder), Cursor(arguments.cursor))
        try:
            follow(consumer, f"{arguments.prefix}.{SERVICE}.v1", follower, arguments.once)
        except KeyboardInterrupt:
            pass
        except Halt as halt:
            raise SystemExit(f"follow.py: {halt}") from None
        finally:
            consumer.close()


if __name__ == "__main__":
    main()
