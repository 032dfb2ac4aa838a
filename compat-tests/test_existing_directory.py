"""A folder full of files, made before the site: served at once, whole from the first listing, imported while clients work."""

from __future__ import annotations

import hashlib
import os
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import server
from conftest import files_of, run_tool, tool

BUCKET = "photos"
LARGE = 65 * 1024 * 1024 + 7
WRITTEN = 1_500_000_000


def file(path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    os.utime(path, (WRITTEN, WRITTEN))


@pytest.fixture
def site(tmp_path):
    """A site that has not started yet, on a store that holds a folder with files of all kinds."""
    if os.environ.get("COMPAT_ENDPOINT"):
        pytest.skip("needs a directory of its own")
    process = server.Anybucket(tmp_path)
    root = process.objects / BUCKET
    for n in range(1_500):
        file(root / f"many/{n % 10}/{n:04}.txt", f"file {n}\n".encode())
    for name in ("2026/über uns.jpg", "日本/🏔.jpg", "a b+c=d&e.txt", "UPPER/lower.Txt", "~tilde!'()*;:@,", "-dash", ".hidden/.x", "back\\slash"):
        file(root / name, name.encode() * 100)
    file(root / "empty", b"")
    file(root / "large.bin", os.urandom(LARGE))
    (root / "no files/in here").mkdir(parents=True)
    # What no key can name, and folders that no bucket can have.
    file(root / "100%", b"not ours")
    (root / "link").symlink_to("empty")
    os.mkfifo(root / "pipe")
    file(process.objects / "Not A Bucket/x", b"not ours")
    file(process.objects / "lies beside", b"not ours")
    time.sleep(2.1)  # A file that was changed a moment ago is not believed to stay as it is.
    yield process
    if process.alive():
        process.stop()


def expected(site) -> dict[str, bytes]:
    found = {name: body for name, body in files_of_folder(site).items() if name not in ("100%", "link")}
    assert len(found) == 1_510
    return found


def files_of_folder(site) -> dict[str, bytes]:
    return files_of(site.objects / BUCKET)


def client(site, attempts: int = 1):
    url, who = f"http://{site.host}:{site.port}", site.credentials
    config = Config(retries={"total_max_attempts": attempts})
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=who.access_key, aws_secret_access_key=who.secret_key, region_name="us-east-1", config=config
    )


def listed(s3, **more) -> dict[str, dict]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, **more)
    return {entry["Key"]: entry for page in pages for entry in page.get("Contents", [])}


def check(s3, want: dict[str, bytes]) -> None:
    got = {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in listed(s3)}
    assert got == want


def test_the_first_listing_is_whole_and_every_file_is_read(site):
    want = expected(site)
    site.up()
    s3 = client(site)
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]
    found = listed(s3)
    assert {key: entry["Size"] for key, entry in found.items()} == {key: len(body) for key, body in want.items()}
    assert {entry["LastModified"].timestamp() for entry in found.values()} == {WRITTEN}
    check(s3, want)
    site.import_all()
    check(s3, want)
    md5s = {key: f'"{hashlib.md5(body).hexdigest()}"' for key, body in want.items()}
    assert {key: entry["ETag"] for key, entry in listed(s3).items()} == md5s
    said = (site.directory / "anybucket.log").read_text() if (site.directory / "anybucket.log").exists() else site.log_tail()
    assert "its import is done" in said and "skipped=3" in said


def test_folders_are_prefixes_and_empty_ones_are_nothing(site):
    site.up()
    s3 = client(site)
    page = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
    prefixes = [prefix["Prefix"] for prefix in page["CommonPrefixes"]]
    assert prefixes == [".hidden/", "2026/", "UPPER/", "many/", "日本/"]
    assert len(s3.list_objects_v2(Bucket=BUCKET, Prefix="many/3/")["Contents"]) == 150
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="many/3/", MaxKeys=10)["IsTruncated"]


def test_an_etag_once_told_stays_good(site):
    site.up()
    s3 = client(site)
    told = listed(s3)["large.bin"]["ETag"]
    assert told.endswith('-9"')
    body = (site.objects / BUCKET / "large.bin").read_bytes()
    half = s3.get_object(Bucket=BUCKET, Key="large.bin", Range=f"bytes=0-{LARGE // 2}", IfMatch=told)["Body"].read()
    site.import_all()
    rest = s3.get_object(Bucket=BUCKET, Key="large.bin", Range=f"bytes={LARGE // 2 + 1}-", IfMatch=told)["Body"].read()
    assert half + rest == body
    s3.put_object(Bucket=BUCKET, Key="large.bin", Body=body)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.get_object(Bucket=BUCKET, Key="large.bin", IfMatch=told)


def test_what_is_deleted_or_overwritten_at_once_stays_so_over_a_kill(site):
    want = expected(site)
    site.up()
    s3 = client(site)
    for n in range(0, 1_500, 100):
        key = f"many/{n % 10}/{n:04}.txt"
        s3.delete_object(Bucket=BUCKET, Key=key)
        del want[key]
        key = f"many/{(n + 1) % 10}/{n + 1:04}.txt"
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"mine")
        want[key] = b"mine"
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=BUCKET, Key="empty", Body=b"mine", IfNoneMatch="*")
    site.kill()
    site.up()
    s3 = client(site)
    check(s3, want)
    site.import_all()
    check(s3, want)
    assert {name: body for name, body in files_of_folder(site).items() if name not in ("100%", "link")} == want


def test_an_import_that_is_killed_again_and_again_comes_to_its_end(site):
    want = expected(site)
    for _ in range(8):
        site.up()
        time.sleep(0.05)
        site.kill()
    site.up()
    site.import_all()
    check(client(site), want)


def test_a_file_that_others_changed_goes_with_its_object(site):
    site.up()
    s3, path = client(site), site.objects / BUCKET / "app.log"
    s3.put_object(Bucket=BUCKET, Key="app.log", Body=b"one line\n")
    with path.open("ab") as log:
        log.write(b"another\n")
    time.sleep(0.05)
    s3.delete_object(Bucket=BUCKET, Key="app.log")
    assert not path.exists(), "it would be taken for a new file one day"


def test_rclone_finds_no_difference(site, tmp_path):
    want = expected(site)
    site.up()
    env = {
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
        "RCLONE_CONFIG_ANY_TYPE": "s3",
        "RCLONE_CONFIG_ANY_PROVIDER": "Other",
        "RCLONE_CONFIG_ANY_ENDPOINT": f"http://{site.host}:{site.port}",
        "RCLONE_CONFIG_ANY_ACCESS_KEY_ID": site.credentials.access_key,
        "RCLONE_CONFIG_ANY_SECRET_ACCESS_KEY": site.credentials.secret_key,
        "RCLONE_CONFIG_ANY_REGION": "us-east-1",
    }
    folder = str(site.objects / BUCKET)
    for more in ([], ["--download"]):
        done = run_tool([tool("rclone"), "check", folder, f"any:{BUCKET}", "--exclude", "/100%", *more], env, None, False)
        assert b"0 differences found" in done.stderr
        site.import_all()
    run_tool([tool("rclone"), "copy", f"any:{BUCKET}", str(tmp_path / "copy")], env, None, False)
    assert files_of(tmp_path / "copy") == want


def test_what_others_put_there_later_comes_by_reconcile_and_new_folders_by_making_a_bucket(site):
    site.up()
    s3 = client(site)
    site.import_all()
    file(site.objects / BUCKET / "new.txt", b"put there by others")
    file(site.objects / BUCKET / "empty", b"not empty any more")
    file(site.objects / "videos/a.mp4", b"a folder of its own")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=BUCKET, Key="new.txt")
    assert s3.get_object(Bucket=BUCKET, Key="empty")["Body"].read() == b"not empty any more"
    assert "videos" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    s3.create_bucket(Bucket="videos")
    assert s3.get_object(Bucket="videos", Key="a.mp4")["Body"].read() == b"a folder of its own"
    time.sleep(2.1)
    config = str(site.directory / "config.toml")
    said = {name: value for name, value in site.env.items() if name.startswith("ANYBUCKET__")}
    run_tool([str(server.find_binary()), "--config", config, "reconcile", BUCKET], said, None, False)
    assert s3.get_object(Bucket=BUCKET, Key="new.txt")["Body"].read() == b"put there by others"
    assert listed(s3)["new.txt"]["ETag"] == f'"{hashlib.md5(b"put there by others").hexdigest()}"'
