"""One server under test: started on a free port, waited for, measured, ended."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port nobody listens on now, and none that the kernel gives to connections, of which tests open many. Somebody may
    take it before we do; then the start fails and says so."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Process:
    """A child process whose output goes to a log file that survives restarts."""

    def __init__(self, name: str, argv: list[str], directory: Path, env: dict[str, str] | None = None) -> None:
        self.name, self.argv, self.directory = name, argv, directory
        self.env = os.environ | (env or {})
        self.log = directory / f"{name}.log"
        self.child: subprocess.Popen | None = None

    def start(self, ready: Callable[[], bool], patience_s: float = 30) -> float:
        """Starts and waits until `ready`. Returns the seconds that took."""
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.argv, cwd=self.directory, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        while not ready():
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.child.returncode} before it was ready:\n{self.log_tail()}")
            if time.monotonic() - began > patience_s:
                self.kill()
                raise RuntimeError(f"{self.name} was not ready within {patience_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.005)
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said."""
        self._end(signal.SIGKILL, 30)

    def stop(self, patience_s: float = 30) -> int:
        """SIGTERM and wait. Returns the exit code; a server that does not end in time is an error."""
        return self._end(signal.SIGTERM, patience_s)

    def _end(self, how: signal.Signals, patience_s: float) -> int:
        if self.child is None:
            return 0
        self.child.send_signal(how)
        try:
            code = self.child.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise RuntimeError(f"{self.name} did not end within {patience_s:.0f} s of {how.name}") from None
        self.child = None
        return code

    def alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def log_tail(self, bytes_max: int = 4000) -> str:
        return self.log.read_bytes()[-bytes_max:].decode(errors="replace")

    def pids(self) -> list[int]:
        """The process and its direct children (nginx works in those)."""
        pid = self.child.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cpu_s(self) -> float:
        """User and system time of all its processes so far, in seconds."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / TICKS_PER_S

    def rss_peak_mib(self) -> float:
        """The sum of its processes' greatest resident sizes since their start or `forget_rss_peak`."""
        return sum(_status_kib(pid, "VmHWM") for pid in self.pids()) / 1024

    def forget_rss_peak(self) -> None:
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _cpu_ticks(pid: int) -> int:
    # The name in field 2 may hold spaces and brackets, so count from behind it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _status_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0
