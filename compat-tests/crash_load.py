"""The clients of the crash test: each thread owns its keys, knows what it was promised, and checks while it works."""

from __future__ import annotations

import base64
import hashlib
import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from crash_record import Fault, Record, State, Write, judge, make_body, write_of
from crash_upload import Upload, UploadSteps
from rawhttp import Answer, Client
from sigv4 import UNSIGNED, Credentials, encode

BROKEN = (OSError, http.client.HTTPException)
# Shapes that are awkward on a disk: a key that is also a prefix of others, a trailing slash, dots, a name to be escaped.
SHAPES = ("{}", "{}/sub", "{}/", "d/e/{}", "d//{}", "{}/./x", "100%/{}", "{} ü+")
PLAIN_SHAPES = ("{}", "d/e/{}")
REFUSED_S = 0.05
# What versitygw says of a write that races with the removal of the last other object of a folder, of which S3 knows nothing.
STORE_RACE = b"ExistingObjectIsDirectory"


class Refused(RuntimeError):
    """503 for a reason of the store's: nobody knows what became of the operation."""


@dataclass(frozen=True)
class Target:
    """Where the load goes, and how large it is."""

    host: str
    port: int
    who: Credentials
    bucket: str
    seed: int
    threads: int
    keys: int  # of each thread
    shapes: tuple[str, ...] = SHAPES
    store_dies: bool = False  # while it does, the site may refuse


@dataclass
class Tally:
    counts: Counter = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    broke_at: float = float("inf")  # monotonic seconds of the first connection that broke

    def add(self, other: Tally) -> None:
        self.counts += other.counts
        self.faults += other.faults
        self.broke_at = min(self.broke_at, other.broke_at)


class Worker(UploadSteps):
    """One thread: a connection, a set of keys nobody else writes, and their record."""

    def __init__(self, target: Target, number: int) -> None:
        self.target, self.number = target, number
        self.random = Random(f"{target.seed}/{number}")
        self.prefix = f"t{number:03}/"
        shapes = target.shapes
        self.keys = [self.prefix + shapes[n % len(shapes)].format(f"k{n // len(shapes):03}") for n in range(target.keys)]
        self.record = Record()
        self.upload: Upload | None = None
        self.written = 0
        self.tally = Tally()
        self.may_refuse = False
        self.client = Client(target.host, target.port, target.who, timeout_s=60)

    def work(self, stop: threading.Event) -> None:
        """Random operations until told to stop or until the connection breaks."""
        self.tally, self.may_refuse = Tally(), self.target.store_dies
        acts, weights = zip(*self.MIX)
        # Keys without a clear answer rest, and some must be left to work on.
        while not stop.is_set() and len(self.record.unsure) <= len(self.keys) // 2:
            act = self.random.choices(acts, weights)[0]
            try:
                act(self)
            except Refused:
                time.sleep(REFUSED_S)
            except BROKEN:
                self.tally.broke_at = time.monotonic()
                if not self.may_refuse:
                    break
                time.sleep(REFUSED_S)
        self.client.connection.close()

    def call(self, verb: str, key: str, query=None, headers=None, body: bytes = b"") -> Answer:
        payload = None if self.random.random() < 0.3 else UNSIGNED
        answer = self.client.call(verb, f"/{self.target.bucket}/{key}", query, headers, body, payload)
        self.tally.counts["operations"] += 1
        if answer.status == 503 and (self.may_refuse or STORE_RACE in answer.body):
            self.tally.counts["refused"] += 1
            raise Refused
        if answer.status >= 500 or answer.status in (400, 403):
            self.fault("unexpected", f"{verb} {key} {query or ''} answered {answer.status}: {answer.body[:300]!r}")
        return answer

    def fault(self, kind: str, text: str) -> None:
        self.tally.faults.append(Fault(kind, text))

    # Writes

    def next_label(self) -> str:
        self.written += 1
        return f"{self.number}.{self.written}"

    def some_key(self) -> str:
        """A key whose state is certain: after an unclear answer it rests until the next check."""
        while True:
            key = self.random.choice(self.keys)
            if key not in self.record.unsure:
                return key

    def finish(self, key: str, answer: Answer, good: int, what: str) -> None:
        """Writes down what the answer to a change means."""
        if answer.status == good:
            self.record.acknowledge(key)
            self.tally.counts[what] += 1
        elif answer.status < 500:
            self.record.withdraw(key)
            self.fault("unexpected", f"{what} {key} answered {answer.status}: {answer.body[:300]!r}")

    def put(self, size: int) -> None:
        key, label = self.some_key(), self.next_label()
        body = make_body(self.target.seed, key, label, size)
        write, before = write_of(label, body), self.record.states.get(key)
        condition = condition_on(before) if self.random.random() < 0.2 else {}
        self.record.begin(key, write)
        self.finish(key, self.call("PUT", key, None, write.headers() | condition, body), 200, "writes")

    def put_small(self) -> None:
        self.put(self.random.choice((0, 100, self.random.randrange(100, 8_000))))

    def put_medium(self) -> None:
        self.put(self.random.randrange(8_000, 200_000))

    def put_large(self) -> None:
        self.put(self.random.randrange(1_000_000, 3_000_000))

    def copy(self) -> None:
        live = [key for key in self.record.live() if key not in self.record.unsure]
        if not live:
            return
        source, key = self.random.choice(live), self.some_key()
        write, headers = self.record.states[source].copied(), {}
        if self.random.random() < 0.5 or key == source:
            write = write.relabelled(self.next_label())
            headers = write.headers() | {"x-amz-metadata-directive": "REPLACE"}
        headers["x-amz-copy-source"] = encode(f"/{self.target.bucket}/{source}", "/")
        self.record.begin(key, write)
        self.finish(key, self.call("PUT", key, None, headers), 200, "writes")

    def delete(self) -> None:
        key = self.some_key()
        self.record.begin(key, None)
        self.finish(key, self.call("DELETE", key), 204, "deletes")

    def delete_many(self) -> None:
        keys = list({self.some_key() for _ in range(5)})
        for key in keys:
            self.record.begin(key, None)
        inner = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
        body = f"<Delete><Quiet>true</Quiet>{inner}</Delete>".encode()
        headers = {"content-md5": base64_md5(body)}
        answer = self.client.call("POST", f"/{self.target.bucket}", {"delete": ""}, headers, body)
        failed = {error.findtext("Key") for error in answer.xml().iter("Error")} if answer.status == 200 else set()
        for key in keys:
            if key not in failed:
                self.finish(key, answer, 200, "deletes")
            elif not self.may_refuse:
                self.fault("unexpected", f"deletes {key} among others answered {answer.body[:300]!r}")

    # Reads

    def check(self, key: str, verb: str = "GET") -> State | Fault:
        answer = self.call(verb, key)
        seen = judge(self.record, key, answer.status, answer.headers, answer.body if verb == "GET" else None)
        if isinstance(seen, Fault):
            self.tally.faults.append(seen)
        return seen

    def get(self) -> None:
        self.check(self.some_key())

    def head(self) -> None:
        self.check(self.some_key(), "HEAD")

    def get_anothers(self) -> None:
        """Somebody else may be writing it right now: whatever is shown, its headers must belong to its body."""
        stranger = self.random.randrange(self.target.threads)
        key = self.random.choice(self.keys).replace(self.prefix, f"t{stranger:03}/", 1)
        answer = self.call("GET", key)
        if answer.status != 200:
            return
        md5 = hashlib.md5(answer.body).hexdigest()
        etag, told = answer.headers["etag"].strip('"'), answer.headers["x-amz-meta-md5"]
        if told != md5 or ("-" not in etag and etag != md5) or answer.headers["content-length"] != str(len(answer.body)):
            self.fault("partial", f"{key}: a body of MD5 {md5} under ETag {etag} and metadata of {told}")

    def list(self) -> None:
        """LIST shows exactly what GET shows, of the keys that are certain."""
        shown = {}
        for entry in self.client.list(self.target.bucket, prefix=self.prefix):
            shown[entry.findtext("Key")] = (entry.findtext("ETag").strip('"'), int(entry.findtext("Size")))
        self.tally.counts["operations"] += 1
        live = {key: write for key, write in self.record.live().items() if key not in self.record.unsure}
        for key in live.keys() - shown.keys():
            self.fault("lost", f"{key}: not listed, promised {live[key]}")
        for key, (etag, size) in shown.items():
            if key in self.record.unsure:
                continue
            write = live.get(key)
            if write is None:
                self.fault("undone", f"{key}: listed as {etag}, promised nothing there")
            elif etag not in write.etags or size != write.size:
                self.fault("partial", f"{key}: listed as {etag} of {size} bytes, promised {write}")

    MIX = (
        (put_small, 40), (put_medium, 8), (put_large, 0.5), (copy, 6), (delete, 12), (delete_many, 1),
        (UploadSteps.step, 1), (get, 18), (get_anothers, 6), (head, 6), (list, 1),
    )

    # After a restart

    def verify(self) -> None:
        """Reads every key there ever was, decides what was unsure, and compares LIST with that."""
        self.tally, self.may_refuse = Tally(), False
        self.settle_upload()
        for key in self.keys:
            seen = self.check(key)
            if isinstance(seen, Fault):
                self.record.unsure.pop(key, None)  # told once
            else:
                self.record.settle(key, seen)
        self.list()


def condition_on(state: State) -> dict[str, str]:
    """A condition that must hold, since nobody else writes the key. None where the ETag is the server's choice."""
    if state is None:
        return {"if-none-match": "*"}
    return {"if-match": f'"{state.etags[0]}"'} if len(state.etags) == 1 else {}


def base64_md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def run_process(target: Target, numbers: range, pipe) -> None:
    """A process of workers, told by pipe: `load` until the connection breaks, `verify`, or the end."""
    workers = [Worker(target, number) for number in numbers]
    while (order := pipe.recv()) != "end":
        stop = threading.Event()
        if order == "load":
            acts = [threading.Thread(target=worker.work, args=(stop,)) for worker in workers]
        else:
            acts = [threading.Thread(target=verify_or_tell, args=(worker,)) for worker in workers]
        for act in acts:
            act.start()
        if order == "load":
            pipe.recv()  # "stop": the server is dead, or the time is over
            stop.set()
        for act in acts:
            act.join()
        pipe.send(report_of(workers))


def verify_or_tell(worker: Worker) -> None:
    try:
        worker.verify()
    except (*BROKEN, RuntimeError) as error:
        worker.fault("unexpected", f"checking {worker.prefix} after the restart: {error!r}")
        worker.client.connection.close()


@dataclass
class Report:
    tally: Tally
    fresh: list[str]
    live: dict[str, Write]


def report_of(workers: list[Worker]) -> Report:
    report = Report(Tally(), [], {})
    for worker in workers:
        report.tally.add(worker.tally)
        report.fresh += worker.record.fresh
        report.live |= worker.record.live()
        worker.record.fresh = []
    return report
