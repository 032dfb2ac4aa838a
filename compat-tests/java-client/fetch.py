"""Brings the jars that a file names from Maven Central, each checked against its SHA-256.

    fetch.py PINS DIRECTORY
"""

import hashlib
import os
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CENTRAL = os.environ.get("MAVEN_CENTRAL", "https://repo.maven.apache.org/maven2")
TRIES = 3


def fetch(pin: str, into: Path) -> None:
    """Nothing is written unless the bytes are the pinned ones."""
    wanted, _, path = pin.partition("  ")
    target = into / Path(path).name
    if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() == wanted:
        return
    body = download(f"{CENTRAL}/{path}")
    found = hashlib.sha256(body).hexdigest()
    if found != wanted:
        raise SystemExit(f"{path}: sha256 is {found}, not {wanted}")
    target.write_bytes(body)


def download(url: str) -> bytes:
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.read()
        except OSError:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def main(named: str, directory: str) -> None:
    into = Path(directory)
    into.mkdir(parents=True, exist_ok=True)
    pins = [line for line in Path(named).read_text().splitlines() if line and not line.startswith("#")]
    kept = {Path(pin).name for pin in pins}
    for old in into.glob("*.jar"):
        if old.name not in kept:
            old.unlink()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pin: fetch(pin, into), pins))


if __name__ == "__main__":
    main(*sys.argv[1:])
