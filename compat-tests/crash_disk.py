"""The data directory as a stranger reads it: every plain file must be a whole body that some client once sent."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

from crash_record import Fault, Write


class Disk:
    """Walks one bucket's folder. Unchanged files (same inode, time, size) are not read again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: set[str] = set()  # MD5 of every body ever sent, acknowledged or not
        self.seen: dict[tuple[int, int, int], str] = {}

    def digests(self) -> dict[Path, str]:
        found, seen = {}, {}
        for directory, _, names in os.walk(self.folder):
            for name in names:
                path = Path(directory, name)
                stat = path.stat()
                mark = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                seen[mark] = found[path] = self.seen.get(mark) or hashlib.md5(path.read_bytes()).hexdigest()
        self.seen = seen
        return found

    def faults(self) -> list[Fault]:
        """Files that are no whole body. Old bodies are allowed: cleaning up comes later."""
        return [
            Fault("partial", f"{path} is {path.stat().st_size} bytes of no known write, beginning {path.read_bytes()[:120]!r}")
            for path, digest in self.digests().items()
            if digest not in self.known
        ]

    def leftovers(self, live: dict[str, Write]) -> Counter:
        """Bodies on the disk that no object has (positive) and objects without a plain file (negative)."""
        found = Counter(self.digests().values())
        found.subtract(Counter(write.md5 for write in live.values()))
        return Counter({digest: count for digest, count in found.items() if count})
