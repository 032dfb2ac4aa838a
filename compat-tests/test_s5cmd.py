"""s5cmd as people run it: many workers, globs, pipes, parts in parallel, batches of commands."""

import json
import os
import urllib.request

import pytest

from conftest import files_of, run_tool, tool, write_file
from expect import MIB, etag, etag_of_parts

PARTS = ["--part-size", "5", "--concurrency", "4"]


@pytest.fixture(scope="session")
def s5cmd(endpoint, tmp_path_factory):
    env = {
        "HOME": str(tmp_path_factory.mktemp("s5cmd")), "S3_ENDPOINT_URL": endpoint.url, "AWS_REGION": endpoint.who.region,
        "AWS_ACCESS_KEY_ID": endpoint.who.access_key, "AWS_SECRET_ACCESS_KEY": endpoint.who.secret_key,
    }
    argv = [tool("s5cmd"), "--retry-count", "0"]

    def run(*more: str, stdin: bytes | None = None, may_fail: bool = False):
        return run_tool([*argv, *more], env, stdin, may_fail)

    return run


def listed(s5cmd, where):
    """What `ls` says of each key, in its order."""
    said = s5cmd("--json", "ls", "--etag", where, may_fail=True).stdout.decode().splitlines()
    return [entry for entry in map(json.loads, said) if entry["type"] == "file"]


def names(s5cmd, bucket, under="*"):
    return [entry["key"].removeprefix(f"s3://{bucket}/") for entry in listed(s5cmd, f"s3://{bucket}/{under}")]


def test_a_directory_goes_up_and_comes_back(s5cmd, bucket, tree, tmp_path):
    s5cmd("cp", *PARTS, f"{tree}/", f"s3://{bucket}/tree/")
    assert sorted(names(s5cmd, bucket)) == sorted(f"tree/{name}" for name in files_of(tree))
    s5cmd("cp", *PARTS, f"s3://{bucket}/tree/*", f"{tmp_path}/back/")
    assert files_of(tmp_path / "back") == files_of(tree)


def test_sync_moves_only_what_changed_and_removes_the_rest(s5cmd, bucket, tree):
    def lines(*more):
        return s5cmd("sync", "--delete", *more, f"{tree}/", f"s3://{bucket}/").stdout.decode().splitlines()

    assert len(lines()) == len(files_of(tree))
    assert lines() == []
    (tree / "readme.txt").write_bytes(b"changed and longer\n")
    (tree / "empty.bin").unlink()
    assert sorted(line.split()[0] for line in lines()) == ["cp", "rm"]
    assert sorted(names(s5cmd, bucket)) == sorted(files_of(tree))


def test_ls_shows_size_and_etag(s5cmd, bucket, tmp_path):
    s5cmd("cp", str(write_file(tmp_path / "a", b"hello")), f"s3://{bucket}/a b&c")
    (entry,) = listed(s5cmd, f"s3://{bucket}/*")
    assert (entry["key"], entry["size"], entry["etag"]) == (f"s3://{bucket}/a b&c", 5, etag(b"hello").strip('"'))


def test_a_large_file_goes_in_parts_and_comes_in_ranges(s5cmd, s3, bucket, tmp_path):
    body = os.urandom(17 * MIB + 1)
    s5cmd("cp", *PARTS, str(write_file(tmp_path / "big", body)), f"s3://{bucket}/big")
    parts = [body[at : at + 5 * MIB] for at in range(0, len(body), 5 * MIB)]
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"] == etag_of_parts(parts)
    s5cmd("cp", *PARTS, f"s3://{bucket}/big", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == body


def test_type_and_metadata_are_kept(s5cmd, s3, bucket, tmp_path):
    path = str(write_file(tmp_path / "a.json", b"{}"))
    s5cmd("cp", "--metadata", "colour=blue", "--cache-control", "max-age=60", path, f"s3://{bucket}/a.json")
    seen = s3.head_object(Bucket=bucket, Key="a.json")
    assert (seen["ContentType"], seen["CacheControl"], seen["Metadata"]) == ("application/json", "max-age=60", {"colour": "blue"})
    assert json.loads(s5cmd("--json", "head", f"s3://{bucket}/a.json").stdout)["metadata"] == {"colour": "blue"}


def test_a_pipe_of_unknown_length_goes_up_and_cat_brings_it_down(s5cmd, bucket):
    body = os.urandom(11 * MIB)
    s5cmd("pipe", *PARTS, f"s3://{bucket}/stream", stdin=body)
    assert s5cmd("cat", f"s3://{bucket}/stream").stdout == body


def test_copy_and_move_stay_on_the_server(s5cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a+b/ü", Body=b"hello")
    s5cmd("cp", f"s3://{bucket}/a+b/ü", f"s3://{bucket}/copy")
    s5cmd("mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    assert names(s5cmd, bucket) == ["a+b/ü", "moved"]
    assert s3.get_object(Bucket=bucket, Key="moved")["Body"].read() == b"hello"


def test_a_key_with_a_space_is_copied(s5cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"hello")
    s5cmd("cp", f"s3://{bucket}/a b/ü", f"s3://{bucket}/copy")
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"hello"


def test_a_glob_deletes_what_it_names_and_leaves_the_rest(s5cmd, bucket, tree):
    s5cmd("cp", f"{tree}/", f"s3://{bucket}/")
    s5cmd("rm", f"s3://{bucket}/photos/*.jpg")
    assert sorted(names(s5cmd, bucket)) == ["big/disk.img", "empty.bin", "readme.txt"]


def test_a_batch_of_commands_stores_a_thousand_files_and_deletes_them(s5cmd, bucket, tmp_path):
    for number in range(1_050):
        write_file(tmp_path / f"{number:04}", str(number).encode())
    batch = "".join(f"cp {tmp_path}/{number:04} s3://{bucket}/{number:04}\n" for number in range(1_050))
    s5cmd("run", stdin=batch.encode())
    assert names(s5cmd, bucket) == [f"{number:04}" for number in range(1_050)]
    assert s5cmd("du", f"s3://{bucket}/*").stdout.split()[0] == str(sum(len(str(number)) for number in range(1_050))).encode()
    s5cmd("rm", f"s3://{bucket}/*")
    assert names(s5cmd, bucket) == []


def test_a_presigned_url_is_all_one_needs(s5cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"hello")
    url = s5cmd("presign", f"s3://{bucket}/a b/ü").stdout.decode().strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"


def test_buckets_are_made_listed_and_removed(s5cmd):
    s5cmd("mb", "s3://s5cmd-made")
    assert b"s3://s5cmd-made\n" in s5cmd("ls").stdout
    s5cmd("rb", "s3://s5cmd-made")
    assert b"s5cmd-made" not in s5cmd("ls").stdout
