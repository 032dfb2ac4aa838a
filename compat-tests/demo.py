#!/usr/bin/env python3
"""Two sites on this machine that follow each other: objects put at one are seen arriving at the other, until Ctrl-C.

Everything lies in a temporary folder that is removed at the end. `--rounds N` ends by itself.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from process import Process, accepts
from server import KEYS, find_binary

BUCKET = "demo"
# Name, number, and the first of three ports: S3, admin, feed.
PARIS, BERLIN = ("paris", 1, 9000), ("berlin", 2, 9100)
PATIENCE_S = 30

SETTINGS = """\
data = "./data"

[site]
name = "{name}"
number = {number}

[s3]
listen = "127.0.0.1:{port}"

[admin]
listen = "127.0.0.1:{admin}"

[feed]
listen = "127.0.0.1:{feed}"

[[peer]]
site = "{peer_name}"
number = {peer_number}
feed = "http://127.0.0.1:{peer_feed}"
token = "{presents}"
accept = "{accepts}"

[events]
bus = "poll"

[replication]
sites = ["*"]
"""


class Site(Process):
    """One site of the two, on the ports of the README."""

    def __init__(self, folder: Path, own: tuple, other: tuple, tokens: dict[str, str]) -> None:
        (name, number, port), (peer_name, peer_number, peer_port) = own, other
        directory = folder / name
        directory.mkdir()
        text = SETTINGS.format(
            name=name, number=number, port=port, admin=port + 1, feed=port + 2,
            peer_name=peer_name, peer_number=peer_number, peer_feed=peer_port + 2,
            presents=tokens[name], accepts=tokens[peer_name],
        )
        (directory / "config.toml").write_text(text)
        keys = {"ANYBUCKET_ACCESS_KEY": KEYS.access_key, "ANYBUCKET_SECRET_KEY": KEYS.secret_key}
        super().__init__(name, [str(find_binary()), "serve", "--config", "config.toml"], directory, keys)
        self.port = port

    def up(self) -> None:
        taken = [port for port in range(self.port, self.port + 3) if accepts(port)]
        if taken:
            sys.exit(f"port {taken[0]} of 127.0.0.1 is taken: stop what listens there first")
        self.start(lambda: accepts(self.port))

    def client(self):
        config = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"})
        return boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1", config=config,
            aws_access_key_id=KEYS.access_key, aws_secret_access_key=KEYS.secret_key,
        )


def wait_for(what: str, done) -> float:
    """Milliseconds until `done`."""
    began = time.perf_counter()
    while not done():
        if time.perf_counter() - began > PATIENCE_S:
            raise TimeoutError(f"{what} did not happen within {PATIENCE_S} s")
        time.sleep(0.002)
    return (time.perf_counter() - began) * 1000


def has(client, key: str, body: bytes | None) -> bool:
    """Whether a site has the key with these bytes; `None`: whether it has it no more."""
    try:
        return client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
    except ClientError as err:
        return body is None and err.response["Error"]["Code"] == "NoSuchKey"


def round_trip(number: int, sites: list[Site]) -> None:
    """An object put at one site and deleted at the other, seen at each."""
    here, there = sites if number % 2 else sites[::-1]
    key, body = f"hello-{number}.txt", f"hello from {here.name}, number {number}\n".encode()
    here.client().put_object(Bucket=BUCKET, Key=key, Body=body)
    came_ms = wait_for(f"{key} at {there.name}", lambda: has(there.client(), key, body))
    print(f"{here.name:>6} PUT    {key:<14} → {there.name:<6} has it after {came_ms:6.1f} ms", flush=True)
    if number % 3 == 0:
        there.client().delete_object(Bucket=BUCKET, Key=key)
        gone_ms = wait_for(f"the end of {key} at {here.name}", lambda: has(here.client(), key, None))
        print(f"{there.name:>6} DELETE {key:<14} → {here.name:<6} lost it after {gone_ms:5.1f} ms", flush=True)


def greet(folder: Path) -> None:
    print(f"Two sites that follow each other, in {folder}:\n")
    for name, _, port in (PARIS, BERLIN):
        print(f"  {name:<6}  S3 http://127.0.0.1:{port}  admin http://127.0.0.1:{port + 1}  log {folder / name / (name + '.log')}")
    print("\nLook for yourself, in another terminal:\n")
    print(f"  export AWS_ACCESS_KEY_ID={KEYS.access_key} AWS_SECRET_ACCESS_KEY={KEYS.secret_key} AWS_DEFAULT_REGION=us-east-1")
    print(f"  echo hello | aws --endpoint-url http://127.0.0.1:{PARIS[2]} s3 cp - s3://{BUCKET}/mine.txt")
    print(f"  aws --endpoint-url http://127.0.0.1:{BERLIN[2]} s3 ls s3://{BUCKET}\n\nCtrl-C ends both and removes everything.\n", flush=True)


def run(rounds: int, folder: Path) -> None:
    tokens = {name: secrets.token_hex(16) for name, _, _ in (PARIS, BERLIN)}
    sites = [Site(folder, PARIS, BERLIN, tokens), Site(folder, BERLIN, PARIS, tokens)]
    try:
        for site in sites:
            site.up()
        sites[0].client().create_bucket(Bucket=BUCKET)
        greet(folder)
        number = 0
        while number < rounds or not rounds:
            number += 1
            round_trip(number, sites)
            time.sleep(1)
    finally:
        for site in sites:
            if site.child is not None:
                site.stop()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=0, help="end after so many objects (default: never)")
    rounds = arguments.parse_args().rounds
    # Whoever ends it otherwise than by Ctrl-C finds nothing left either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="anybucket-demo-") as folder:
        try:
            run(rounds, Path(folder))
        except KeyboardInterrupt:
            print("\nended; nothing is left behind")


if __name__ == "__main__":
    main()
