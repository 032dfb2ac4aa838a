"""Objects of every sort, and a copy of them from site to site that keeps all that S3 shows of them: for test_stores_around.py."""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Iterator
from urllib.parse import urlencode

from expect import MIB

PLAIN, VERSIONED = "around-plain", "around-versioned"
WORKERS = 4
PART_BYTES_MIN = 5 * MIB
KEPT = (
    "Metadata", "ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires", "WebsiteRedirectLocation",
)
CHECKSUMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
COMPOSITE, FULL = ("CRC32", "CRC32C", "SHA1", "SHA256"), ("CRC32", "CRC32C", "CRC64NVME")


@dataclass(frozen=True)
class Seen:
    """One version as a client sees it, but for its id and its time. A delete marker has nothing but its place."""

    is_null: bool
    is_latest: bool
    etag: str = ""
    sizes: tuple[int, ...] = ()  # of the parts, or the one of the whole
    sha256: str = ""
    headers: dict = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)


Picture = dict[str, list[Seen]]  # of each key its versions, newest first


# What is written at first


@dataclass(frozen=True)
class Draft:
    """An object before it is written. Several parts make a multipart upload."""

    parts: tuple[bytes, ...]
    is_multipart: bool
    said: dict
    algorithm: str | None
    kind: str  # COMPOSITE | FULL_OBJECT


class Maker:
    """Draws objects from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def key(self, number: int) -> str:
        shapes = ("{}", "{}/sub", "a/b/{}.txt", "d//{}", "{}/", "ümläut/{} +&=%41", "dots/../{}", "@{}@", "日本/{}🏔", "#{}", "{}." + "x" * 210)
        return self.random.choice(shapes).format(f"k{number:04}")

    def draft(self) -> Draft:
        is_multipart = self.random.random() < 0.08
        algorithm = self.random.choice([*CHECKSUMS, None, None])
        kind = "FULL_OBJECT"
        if is_multipart and algorithm:
            kind = self.random.choice([kind for kind, those in (("COMPOSITE", COMPOSITE), ("FULL_OBJECT", FULL)) if algorithm in those])
        parts = self.parts() if is_multipart else (self.random.randbytes(self.size()),)
        return Draft(parts, is_multipart, self.said(), algorithm, kind)

    def size(self) -> int:
        kinds = (0, 1, self.random.randrange(10_000), self.random.randrange(200_000), self.random.randrange(20 * MIB))
        return self.random.choices(kinds, (6, 4, 70, 18, 2))[0]

    def parts(self) -> tuple[bytes, ...]:
        """Odd sizes: no default of any client cuts an object like this."""
        whole = [PART_BYTES_MIN + self.random.randrange(2 * MIB) for _ in range(self.random.choice((0, 1, 1, 2)))]
        return tuple(self.random.randbytes(size) for size in [*whole, self.random.randrange(1, 3 * MIB)])

    def said(self) -> dict:
        words = {
            "CacheControl": "max-age=60, private", "ContentDisposition": 'attachment; filename="a b.txt"', "ContentEncoding": "gzip",
            "ContentLanguage": "de, en", "ContentType": "text/x-odd; charset=utf-8", "Expires": datetime(2031, 5, 6, 7, 8, 9, tzinfo=timezone.utc),
            "WebsiteRedirectLocation": "/elsewhere",
        }
        said = {name: value for name, value in words.items() if self.random.random() < 0.3}
        if self.random.random() < 0.6:
            said["Metadata"] = {"MixedCase-Name": f"Value {self.random.random()}", "lower": "", "UPPER_under": "a=b; c, d  e"}
        if self.random.random() < 0.4:
            said["Tagging"] = "Colour=Dark+Red&empty=&path=%2Fa%2Bb%40c"
        return said


def fill(s3, count: int, seed: int) -> None:
    """About `count` versions and markers, a third of them in a bucket with versions, some of those from before it had any."""
    maker = Maker(seed)
    deep = [maker.key(number) for number in range(max(3, count // 12))]
    for bucket in (PLAIN, VERSIONED):
        s3.create_bucket(Bucket=bucket)
    write_all(s3, PLAIN, {maker.key(number): maker.draft() for number in range(count - count // 3)})
    write_all(s3, VERSIONED, {key: maker.draft() for key in deep[::3]})
    enable_versions(s3)
    for _ in range(3):
        write_all(s3, VERSIONED, {key: maker.draft() for key in deep})
        for key in maker.random.sample(deep, len(deep) // 3):
            s3.delete_object(Bucket=VERSIONED, Key=key)


def write_all(s3, bucket: str, drafts: dict[str, Draft]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(lambda key: write(s3, bucket, key, drafts[key]), drafts):
            pass


def enable_versions(s3) -> None:
    s3.put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})


def write(s3, bucket: str, key: str, draft: Draft) -> str:
    """Writes it and returns its ETag."""
    to = {"Bucket": bucket, "Key": key}
    summed = {"ChecksumAlgorithm": draft.algorithm} if draft.algorithm else {}
    if not draft.is_multipart:
        return s3.put_object(**to, Body=draft.parts[0], **draft.said, **summed)["ETag"]
    kind = {"ChecksumType": draft.kind} if draft.algorithm else {}
    to["UploadId"] = s3.create_multipart_upload(**to, **draft.said, **summed, **kind)["UploadId"]
    parts = []
    for number, body in enumerate(draft.parts, 1):
        sent = s3.upload_part(**to, PartNumber=number, Body=body, **summed)
        parts.append({"PartNumber": number, "ETag": sent["ETag"]} | {name: sent[name] for name in map(sum_field, CHECKSUMS) if name in sent})
    return s3.complete_multipart_upload(**to, MultipartUpload={"Parts": parts}, **kind)["ETag"]


def sum_field(algorithm: str) -> str:
    return "Checksum" + algorithm


# What is read, and written elsewhere


def copy(source, target) -> Picture:
    """Copies every bucket with all versions, in their order. Returns what was seen at the source."""
    picture: Picture = {}
    for bucket in (PLAIN, VERSIONED):
        if target:
            target.create_bucket(Bucket=bucket)
        keys = versions(source, bucket)
        copier = Copier(source, target, bucket)
        if bucket == VERSIONED:
            # Null versions are those from before it had versions, so they are written before it has any.
            copier.all(picture, {key: [row for row in rows if row["VersionId"] == "null"] for key, rows in keys.items()})
            if target:
                enable_versions(target)
            keys = {key: [row for row in rows if row["VersionId"] != "null"] for key, rows in keys.items()}
        copier.all(picture, keys)
    return picture


def look(s3) -> Picture:
    return copy(s3, None)


def versions(s3, bucket: str) -> dict[str, list[dict]]:
    """Of each key its versions and delete markers as they are listed, oldest first."""
    keys: dict[str, list[dict]] = {}
    for row in listed(s3, bucket):
        keys.setdefault(row["Key"], []).insert(0, row)
    return keys


def listed(s3, bucket: str) -> Iterator[dict]:
    """A page has its versions apart from its markers, with times in seconds: only pages of one tell what is newer."""
    size = 1 if bucket == VERSIONED else 1000
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": size}):
        yield from [*page.get("Versions", []), *page.get("DeleteMarkers", [])]


class Copier:
    """Reads versions of one bucket and writes them to the same one elsewhere, or only reads."""

    def __init__(self, source, target, bucket: str) -> None:
        self.source, self.target, self.bucket = source, target, bucket

    def all(self, picture: Picture, keys: dict[str, list[dict]]) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            for key, seen in zip(keys, pool.map(self.key, keys.values())):
                name = f"{self.bucket}/{key}"
                picture[name] = seen + picture.get(name, [])

    def key(self, rows: list[dict]) -> list[Seen]:
        """One key, oldest version first, as they must be written."""
        return [self.version(row) for row in rows][::-1]

    def version(self, row: dict) -> Seen:
        place = row["VersionId"] == "null", row["IsLatest"]
        if "ETag" not in row:
            if self.target:
                self.target.delete_object(Bucket=self.bucket, Key=row["Key"])
            return Seen(*place)
        of = {"Bucket": self.bucket, "Key": row["Key"], "VersionId": row["VersionId"]}
        head = self.source.head_object(**of, ChecksumMode="ENABLED")
        tags = self.source.get_object_tagging(**of)["TagSet"]
        draft = self.draft(of, head, tags)
        if self.target:
            written = write(self.target, self.bucket, row["Key"], draft)
            assert written == head["ETag"] == row["ETag"], row
        sums = {name: head[name] for name in [*map(sum_field, CHECKSUMS), "ChecksumType"] if name in head}
        return Seen(
            *place, head["ETag"], tuple(map(len, draft.parts)), hashlib.sha256(b"".join(draft.parts)).hexdigest(),
            headers_of(head), {tag["Key"]: tag["Value"] for tag in tags}, sums,
        )

    def draft(self, of: dict, head: dict, tags: list[dict]) -> Draft:
        """What writes the same version again: its parts as they were, or other parts would give it another ETag."""
        is_multipart = "-" in head["ETag"]
        if is_multipart:
            count = self.source.head_object(**of, PartNumber=1)["PartsCount"]
            parts = tuple(self.source.get_object(**of, PartNumber=number)["Body"].read() for number in range(1, count + 1))
        else:
            parts = (self.source.get_object(**of)["Body"].read(),)
        said = headers_of(head)
        if tags:
            said["Tagging"] = urlencode({tag["Key"]: tag["Value"] for tag in tags})
        algorithm = next((name for name in CHECKSUMS if sum_field(name) in head), None)
        return Draft(parts, is_multipart, said, algorithm, head.get("ChecksumType", "FULL_OBJECT"))


def headers_of(head: dict) -> dict:
    return {name: head[name] for name in KEPT if name in head}
