"""s3cmd as people run it: put, get, sync, ls, mv, cp, del, parts, info; it compares by MD5 and keeps its own metadata."""

import os
import re

import pytest

from conftest import files_of, run_tool, tool, write_file
from expect import MIB, etag, etag_of_parts, put_empty


@pytest.fixture(scope="session")
def s3cmd(endpoint, tmp_path_factory):
    """Runs s3cmd with a configuration file of what a person must say, and nothing else."""
    home = tmp_path_factory.mktemp("s3cmd")
    host = f"{endpoint.host}:{endpoint.port}"
    settings = {
        "access_key": endpoint.who.access_key, "secret_key": endpoint.who.secret_key, "bucket_location": endpoint.who.region,
        "host_base": host, "host_bucket": host, "use_https": "False", "max_retries": "1",
    }
    (home / "s3cfg").write_text("[default]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    argv = [tool("s3cmd"), "--config", str(home / "s3cfg"), "--no-progress"]

    def run(*more: str, stdin: bytes | None = None, may_fail: bool = False):
        return run_tool([*argv, *more], {"HOME": str(home), "LC_ALL": "C.UTF-8"}, stdin, may_fail)

    return run


def names(s3cmd, where, *more):
    """What `ls -r` lists, in its order."""
    return [line.split("s3://", 1)[1].split("/", 1)[1] for line in s3cmd("ls", "-r", where, *more).stdout.decode().splitlines()]


def test_a_directory_goes_up_and_comes_back(s3cmd, bucket, tree, tmp_path):
    s3cmd("sync", f"{tree}/", f"s3://{bucket}/tree/", "--multipart-chunk-size-mb=5")
    assert sorted(names(s3cmd, f"s3://{bucket}/tree/")) == sorted(f"tree/{name}" for name in files_of(tree))
    (tmp_path / "back").mkdir()
    s3cmd("sync", f"s3://{bucket}/tree/", f"{tmp_path}/back/")
    assert files_of(tmp_path / "back") == files_of(tree)


def test_sync_moves_only_what_changed_and_removes_the_rest(s3cmd, bucket, tree):
    def uploads(*more):
        said = s3cmd("sync", f"{tree}/", f"s3://{bucket}/", "--delete-removed", *more).stdout.decode()
        return len(re.findall(r"^upload: ", said, re.M)), len(re.findall(r"^delete: ", said, re.M))

    assert uploads() == (len(files_of(tree)), 0)
    assert uploads() == (0, 0)
    (tree / "readme.txt").write_bytes(b"HELLO\n")
    (tree / "empty.bin").unlink()
    assert uploads() == (1, 1)
    assert sorted(names(s3cmd, f"s3://{bucket}")) == sorted(files_of(tree))


def test_the_etag_is_the_md5_and_ls_shows_it(s3cmd, bucket, tmp_path):
    s3cmd("put", str(write_file(tmp_path / "a.txt", b"hello")), f"s3://{bucket}/a.txt")
    (line,) = s3cmd("ls", "--list-md5", f"s3://{bucket}").stdout.decode().splitlines()
    assert line.split()[2:] == ["5", etag(b"hello").strip('"'), f"s3://{bucket}/a.txt"]


def test_type_and_metadata_are_kept(s3cmd, s3, bucket, tmp_path):
    path = str(write_file(tmp_path / "a.txt", b"hello"))
    s3cmd("put", path, f"s3://{bucket}/a.txt", "--add-header=x-amz-meta-colour:blue", "--mime-type=text/x-test")
    seen = s3.head_object(Bucket=bucket, Key="a.txt")
    assert (seen["ContentType"], seen["Metadata"]["colour"]) == ("text/x-test", "blue")
    assert "md5:5d41402abc4b2a76b9719d911017c592" in seen["Metadata"]["s3cmd-attrs"]


def test_metadata_is_changed_in_place(s3cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a.txt", Body=b"hello", Metadata={"colour": "blue"})
    s3cmd("modify", f"s3://{bucket}/a.txt", "--add-header=x-amz-meta-colour:red")
    seen = s3.get_object(Bucket=bucket, Key="a.txt")
    assert (seen["Metadata"]["colour"], seen["Body"].read()) == ("red", b"hello")


def test_info_tells_size_type_and_md5(s3cmd, bucket, tmp_path):
    s3cmd("put", str(write_file(tmp_path / "a.txt", b"hello")), f"s3://{bucket}/a.txt")
    said = s3cmd("info", f"s3://{bucket}/a.txt").stdout.decode()
    assert "File size: 5" in said and "MD5 sum:   5d41402abc4b2a76b9719d911017c592" in said


def test_a_large_file_goes_in_parts(s3cmd, s3, bucket, tmp_path):
    body = os.urandom(12 * MIB + 1)
    s3cmd("put", str(write_file(tmp_path / "big", body)), f"s3://{bucket}/big", "--multipart-chunk-size-mb=5")
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"] == etag_of_parts([body[: 5 * MIB], body[5 * MIB : 10 * MIB], body[10 * MIB :]])
    s3cmd("get", f"s3://{bucket}/big", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == body


def test_a_broken_download_goes_on_where_it_stopped(s3cmd, bucket, tmp_path):
    body = os.urandom(300_000)
    s3cmd("put", str(write_file(tmp_path / "a", body)), f"s3://{bucket}/a")
    write_file(tmp_path / "back", body[:100_000])
    s3cmd("get", "--continue", f"s3://{bucket}/a", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == body


def test_a_stream_goes_up_and_down(s3cmd, bucket):
    body = os.urandom(6 * MIB)
    s3cmd("put", "-", f"s3://{bucket}/stream", "--multipart-chunk-size-mb=5", stdin=body)
    assert s3cmd("get", f"s3://{bucket}/stream", "-").stdout == body


def test_copy_and_move_stay_on_the_server(s3cmd, s3, bucket, tmp_path):
    s3cmd("put", str(write_file(tmp_path / "a", b"hello")), f"s3://{bucket}/a b/ü", "--add-header=x-amz-meta-colour:blue")
    s3cmd("cp", f"s3://{bucket}/a b/ü", f"s3://{bucket}/copy")
    s3cmd("mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    assert names(s3cmd, f"s3://{bucket}") == ["a b/ü", "moved"]
    seen = s3.get_object(Bucket=bucket, Key="moved")
    assert (seen["Body"].read(), seen["Metadata"]["colour"]) == (b"hello", "blue")


def test_delete_takes_what_is_named_and_leaves_the_rest(s3cmd, bucket, tree):
    s3cmd("put", "--recursive", f"{tree}/", f"s3://{bucket}/")
    s3cmd("del", f"s3://{bucket}/readme.txt")
    s3cmd("del", "--recursive", f"s3://{bucket}/photos/")
    assert sorted(names(s3cmd, f"s3://{bucket}")) == ["big/disk.img", "empty.bin"]


def test_more_than_a_thousand_keys_are_listed_and_deleted(s3cmd, s3, bucket):
    keys = [f"{number:04}" for number in range(1_050)]
    put_empty(s3, bucket, keys)
    assert names(s3cmd, f"s3://{bucket}") == keys
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}")
    assert names(s3cmd, f"s3://{bucket}") == []


def test_buckets_are_made_listed_and_removed(s3cmd):
    s3cmd("mb", "s3://s3cmd-made")
    assert b"s3://s3cmd-made\n" in s3cmd("ls").stdout
    s3cmd("rb", "s3://s3cmd-made")
    assert b"s3cmd-made" not in s3cmd("ls").stdout


def test_an_open_upload_is_shown_and_aborted(s3cmd, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="left")["UploadId"]
    assert upload in s3cmd("multipart", f"s3://{bucket}").stdout.decode()
    s3cmd("abortmp", f"s3://{bucket}/left", upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_tags_are_set_and_read(s3cmd, s3, bucket, tmp_path):
    s3cmd("put", str(write_file(tmp_path / "a", b"hello")), f"s3://{bucket}/a")
    s3cmd("settagging", f"s3://{bucket}/a", "colour=blue&size=5")
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "colour", "Value": "blue"}, {"Key": "size", "Value": "5"}]
    assert "colour" in s3cmd("gettagging", f"s3://{bucket}/a").stdout.decode()
