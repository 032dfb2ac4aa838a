"""Removes status.redb under many objects and versions, and compares everything that clients can ask for before and after.

    .tools/py/bin/python compat-tests/rebuild.py [--objects 20000] [--kill]
    COMPAT_STORE=versitygw|s3proxy|minio|azurite|gcs: over that service
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from botocore.exceptions import ClientError

import server
import stores
from boto import at_site

PLAIN, KEPT = "plain", "kept"
VERSIONS_OF_A_KEY = 4
# After a kill what changed in the last ten seconds may be told by the objects themselves alone (README): wait for the archive.
ARCHIVED_S = 11


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20_000, help="a fifth of them versions")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--kill", action="store_true", help="kill -9 rather than an orderly end")
    return parser.parse_args()


class World:
    def __init__(self, site: server.Anybucket, asked: argparse.Namespace) -> None:
        retries = {"total_max_attempts": 8, "mode": "standard"}
        self.s3 = at_site(site, retries=retries, max_pool_connections=asked.threads)
        self.asked = asked

    def each(self, call, items) -> list:
        with ThreadPoolExecutor(self.asked.threads) as threads:
            return list(threads.map(call, items))

    def fill(self) -> None:
        for bucket in (PLAIN, KEPT):
            self.s3.create_bucket(Bucket=bucket)
        self.s3.put_bucket_versioning(Bucket=KEPT, VersioningConfiguration={"Status": "Enabled"})
        versions = self.asked.objects // 5
        self.each(self.put_object, range(self.asked.objects - versions))
        self.each(self.put_versions, range(versions // VERSIONS_OF_A_KEY))

    def put_object(self, n: int) -> None:
        described = {"ContentType": "text/plain", "Metadata": {"Number": str(n)}, "Tagging": f"n={n}"}
        self.s3.put_object(Bucket=PLAIN, Key=f"dir-{n % 97}/{n:06}", Body=b"x" * (n % 4096), **described)

    def put_versions(self, n: int) -> None:
        key = f"key-{n:05}"
        for version in range(VERSIONS_OF_A_KEY):
            self.s3.put_object(Bucket=KEPT, Key=key, Body=f"{n} {version}".encode(), Metadata={"version": str(version)})
        if n % 10 == 0:
            self.s3.delete_object(Bucket=KEPT, Key=key)

    def pages(self, call: str, of: str, bucket: str) -> list:
        while True:
            try:
                return [row for page in self.s3.get_paginator(call).paginate(Bucket=bucket) for row in page.get(of, [])]
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 503:
                    raise
                time.sleep(0.2)

    def seen(self) -> dict:
        world = {"listed": self.pages("list_objects_v2", "Contents", PLAIN)}
        for of in ("Versions", "DeleteMarkers"):
            world[of] = self.pages("list_object_versions", of, KEPT)
        world["objects"] = self.each(lambda row: self.read(Bucket=PLAIN, Key=row["Key"]), world["listed"])
        world["versions"] = self.each(lambda row: self.read(Bucket=KEPT, Key=row["Key"], VersionId=row["VersionId"]), world["Versions"])
        return world

    def read(self, **what) -> tuple:
        got = self.s3.get_object(**what)
        tags = self.s3.get_object_tagging(**what)["TagSet"]
        told = (got["ETag"], got["ContentType"], got["Metadata"], got["LastModified"], got.get("VersionId"), tags)
        return *told, got["Body"].read()


def differing(before: dict, after: dict) -> list[str]:
    told = []
    for of, rows in before.items():
        if len(rows) != len(after[of]):
            told.append(f"{of}: {len(rows)} before, {len(after[of])} after")
        told += [f"{of}: {one}\n   is {other}" for one, other in zip(rows, after[of]) if one != other]
    return told


def main() -> int:
    asked = arguments()
    directory = Path(tempfile.mkdtemp(prefix="rebuild-"))
    store = stores.asked(directory)
    site = server.Anybucket(directory, env=store.settings if store else None)
    site.up()
    world = World(site, asked)
    world.fill()
    before = world.seen()
    if asked.kill:
        time.sleep(ARCHIVED_S)
        site.kill()
    else:
        site.stop()
    (site.data / "status.redb").unlink()
    began = time.monotonic()
    site.up()
    world = World(site, asked)
    world.pages("list_objects_v2", "Contents", PLAIN)
    took = time.monotonic() - began
    told = differing(before, world.seen())
    print(f"{len(before['objects'])} objects, {len(before['versions'])} versions, {len(before['DeleteMarkers'])} markers; "
          f"listed again after {took:.1f} s; {len(told)} differences")
    print("\n".join(told[:20]))
    site.stop()
    if store:
        store.kill()
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
