"""The independent record: what each client was promised, and so what a read may show.

Every key has one writer thread. An acknowledged operation leaves one allowed state; an operation that was on its way
when the server died adds a second. `None` is the state of a key that does not exist.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from random import Random


@dataclass(frozen=True)
class Write:
    """Everything a read of this write must show. The label is unique in a whole run."""

    label: str
    md5: str
    size: int
    etags: tuple[str, ...]
    kind: str

    def headers(self) -> dict[str, str]:
        return {"content-type": self.kind, "x-amz-meta-write": self.label, "x-amz-meta-md5": self.md5}

    def relabelled(self, label: str) -> Write:
        """The same bytes under other metadata, as a copy with REPLACE makes them."""
        return replace(self, label=label, kind=kind_of(label))

    def copied(self) -> Write:
        """What a copy may show: the source's ETag, or for a copy of parts the MD5 of the whole."""
        return replace(self, etags=tuple(dict.fromkeys((*self.etags, self.md5))))


State = Write | None


def kind_of(label: str) -> str:
    return f"text/x-{label.replace('.', '-')}"


def make_body(seed: int, key: str, label: str, size: int) -> bytes:
    """A body that says what it is: one line, then noise only that line can make. Size 0 stays empty."""
    if size == 0:
        return b""
    line = f"{seed} {label} {size} {key}\n".encode()
    return line + Random(line).randbytes(max(0, size - len(line)))


def write_of(label: str, body: bytes, etag: str | None = None) -> Write:
    md5 = hashlib.md5(body).hexdigest()
    return Write(label, md5, len(body), (etag or md5,), kind_of(label))


@dataclass
class Record:
    """One thread's keys."""

    states: dict[str, State] = field(default_factory=dict)
    unsure: dict[str, list[State]] = field(default_factory=dict)
    tried: dict[str, Write] = field(default_factory=dict)  # by label, to name what a wrong read shows
    fresh: list[str] = field(default_factory=list)  # MD5s since the last report: what may lie on the disk

    def begin(self, key: str, state: State) -> None:
        """Before the first byte is sent: from here on the new state may be seen."""
        self.unsure.setdefault(key, []).append(state)
        if state is not None:
            self.tried[state.label] = state
            self.fresh.append(state.md5)

    def acknowledge(self, key: str) -> None:
        """The server said yes: nothing but the newest state may be seen."""
        self.settle(key, self.unsure[key][-1])

    def withdraw(self, key: str) -> None:
        """The server said a clear no: nothing changed."""
        self.unsure[key].pop()
        if not self.unsure[key]:
            del self.unsure[key]

    def settle(self, key: str, state: State) -> None:
        self.unsure.pop(key, None)
        self.states[key] = state

    def allowed(self, key: str) -> list[State]:
        return [self.states.get(key), *self.unsure.get(key, [])]

    def live(self) -> dict[str, Write]:
        return {key: state for key, state in self.states.items() if state is not None}


@dataclass(frozen=True)
class Fault:
    """One broken promise."""

    kind: str  # lost | undone | partial | unexpected
    text: str


def judge(record: Record, key: str, status: int, headers, body: bytes | None) -> State | Fault:
    """Which allowed state a GET (or HEAD: no body) shows, or the promise it breaks."""
    allowed = record.allowed(key)
    if status == 404:
        return None if None in allowed else Fault("lost", f"{key}: 404, promised {allowed}")
    if status != 200:
        return Fault("unexpected", f"{key}: GET answered {status}: {(body or b'')[:200]!r}")
    label = headers["x-amz-meta-write"]
    shown = next((state for state in allowed if state and state.label == label), None)
    if shown is None:
        known = record.tried.get(label or "")
        kind = "undone" if set(allowed) == {None} else "partial" if known is None else "lost"
        return Fault(kind, f"{key}: shows {known or label}, promised {allowed}")
    wrong = mismatch(shown, headers, body)
    return Fault("partial", f"{key}: {wrong}, promised {shown}") if wrong else shown


def mismatch(write: Write, headers, body: bytes | None) -> str:
    """How an answer differs from the write it claims to be; empty when it does not."""
    if (headers["etag"] or "").strip('"') not in write.etags:
        return f"ETag {headers['etag']}"
    if headers["content-length"] != str(write.size):
        return f"Content-Length {headers['content-length']}"
    if headers["content-type"] != write.kind:
        return f"Content-Type {headers['content-type']}"
    if headers["x-amz-meta-md5"] != write.md5:
        return f"metadata of MD5 {headers['x-amz-meta-md5']}"
    if body is not None and hashlib.md5(body).hexdigest() != write.md5:
        return f"a body of {len(body)} bytes beginning {body[:80]!r}"
    return ""
