"""restic, which notices every wrong byte: back up, change, check by reading all, restore, forget and prune."""

import json
import os

import pytest

from conftest import files_of, run_tool, tool
from expect import at_once


@pytest.fixture
def restic(endpoint, bucket, tmp_path):
    """Runs restic on a new repository in a fresh bucket, without a cache that could answer for the server."""
    env = {
        "RESTIC_REPOSITORY": f"s3:{endpoint.url}/{bucket}/repo", "RESTIC_PASSWORD": "of no value", "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": endpoint.who.access_key, "AWS_SECRET_ACCESS_KEY": endpoint.who.secret_key, "AWS_DEFAULT_REGION": endpoint.who.region,
    }
    program = tool("restic")

    def run(*argv: str, stdin: bytes | None = None, may_fail: bool = False):
        return run_tool([program, "--no-cache", "--pack-size", "4", *argv], env, stdin, may_fail)

    run("init")
    return run


def snapshots(restic):
    return json.loads(restic("snapshots", "--json").stdout)


def test_a_backup_is_whole_and_comes_back(restic, tree, tmp_path):
    restic("backup", str(tree))
    restic("check", "--read-data")
    restic("restore", "latest", "--verify", "--target", str(tmp_path / "back"))
    assert files_of(tmp_path / "back" / str(tree).lstrip("/")) == files_of(tree)


def test_an_older_state_comes_back_after_changes(restic, tree, tmp_path):
    before = files_of(tree)
    restic("backup", str(tree))
    (tree / "readme.txt").write_bytes(b"changed\n")
    (tree / "photos/new.jpg").write_bytes(os.urandom(3_000_000))
    restic("backup", str(tree))
    first, second = snapshots(restic)
    for snapshot, wanted in [(first, before), (second, files_of(tree))]:
        restic("restore", snapshot["id"], "--target", str(tmp_path / snapshot["short_id"]))
        assert files_of(tmp_path / snapshot["short_id"] / str(tree).lstrip("/")) == wanted


def test_pruning_deletes_what_nobody_needs_and_keeps_the_rest(restic, s3, bucket, tree):
    restic("backup", str(tree))
    (tree / "big/disk.img").write_bytes(os.urandom(9_000_000))
    restic("backup", str(tree))
    before = stored(s3, bucket)
    restic("forget", "--keep-last", "1", "--prune")
    assert len(snapshots(restic)) == 1
    assert stored(s3, bucket) < before - 15_000_000
    restic("check", "--read-data")


def test_one_wrong_byte_in_the_store_is_found(restic, s3, bucket, tree):
    """So that the checks above are known to look."""
    restic("backup", str(tree))
    pack = max(s3.list_objects_v2(Bucket=bucket, Prefix="repo/data/")["Contents"], key=lambda entry: entry["Size"])["Key"]
    body = bytearray(s3.get_object(Bucket=bucket, Key=pack)["Body"].read())
    body[1_000] ^= 1
    s3.put_object(Bucket=bucket, Key=pack, Body=bytes(body))
    assert restic("check", "--read-data", may_fail=True).returncode != 0


def test_backups_at_once_all_arrive(restic, tree, tmp_path):
    at_once(4, lambda number: restic("backup", "--stdin", "--stdin-filename", f"{number}.bin", stdin=bytes([number]) * 2_000_000))
    assert sorted(snapshot["paths"] for snapshot in snapshots(restic)) == [[f"/{number}.bin"] for number in range(4)]
    restic("check", "--read-data")
    assert restic("dump", "--path", "/2.bin", "latest", "/2.bin").stdout == b"\x02" * 2_000_000


def stored(s3, bucket):
    return sum(entry["Size"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"])
