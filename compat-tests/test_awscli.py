"""aws-cli as people type it: copy, sync, list, move, remove, streams, presign, s3api."""

import json
import urllib.request

import pytest

from conftest import files_of
from expect import etag


def listed(aws, bucket, *more):
    """The keys `aws s3 ls --recursive` prints."""
    lines = aws("s3", "ls", f"s3://{bucket}", "--recursive", *more, may_fail=True).stdout.decode().splitlines()
    return [line.split(None, 3)[3] for line in lines]


def test_a_bucket_is_made_listed_and_removed(aws):
    aws("s3", "mb", "s3://cli-made")
    assert "cli-made" in aws("s3", "ls").stdout.decode()
    aws("s3", "cp", "-", "s3://cli-made/k", stdin=b"x")
    assert aws("s3", "rb", "s3://cli-made", may_fail=True).returncode != 0
    aws("s3", "rb", "s3://cli-made", "--force")
    assert "cli-made" not in aws("s3", "ls").stdout.decode()


def test_a_directory_goes_up_and_comes_back_the_same(aws, bucket, tree, tmp_path):
    aws("s3", "cp", str(tree), f"s3://{bucket}/tree", "--recursive")
    assert sorted(listed(aws, bucket)) == sorted(f"tree/{name}" for name in files_of(tree))
    aws("s3", "cp", f"s3://{bucket}/tree", str(tmp_path / "back"), "--recursive")
    assert files_of(tmp_path / "back") == files_of(tree)


def test_sync_moves_only_what_changed_and_deletes_when_told(aws, bucket, tree, tmp_path):
    there = f"s3://{bucket}/mirror"
    aws("s3", "sync", str(tree), there)
    assert aws("s3", "sync", str(tree), there).stdout == b"", "a second sync has nothing to do"
    (tree / "readme.txt").write_bytes(b"hello again, longer\n")
    (tree / "empty.bin").unlink()
    said = aws("s3", "sync", str(tree), there, "--delete").stdout.decode()
    assert sorted(line.split(":")[0] for line in said.splitlines() if line.startswith(("upload", "delete"))) == ["delete", "upload"]
    aws("s3", "sync", there, str(tmp_path / "back"))
    assert files_of(tmp_path / "back") == files_of(tree)
    assert aws("s3", "sync", there, str(tmp_path / "back")).stdout == b""


def test_a_sync_between_buckets_copies_inside_the_server(aws, bucket, new_bucket, tree, tmp_path):
    there = new_bucket()
    aws("s3", "sync", str(tree), f"s3://{bucket}")
    aws("s3", "sync", f"s3://{bucket}", f"s3://{there}")
    aws("s3", "sync", f"s3://{there}", str(tmp_path / "back"))
    assert files_of(tmp_path / "back") == files_of(tree)


def test_a_stream_of_several_parts_goes_through_a_pipe(aws, bucket):
    body = bytes(range(256)) * 4096 * 20
    aws("s3", "cp", "-", f"s3://{bucket}/pipe", stdin=body)
    assert aws("s3", "cp", f"s3://{bucket}/pipe", "-").stdout == body


def test_move_and_recursive_remove(aws, bucket, tree):
    aws("s3", "cp", str(tree), f"s3://{bucket}/a", "--recursive")
    aws("s3", "mv", f"s3://{bucket}/a", f"s3://{bucket}/b", "--recursive")
    assert sorted(listed(aws, bucket)) == sorted(f"b/{name}" for name in files_of(tree))
    aws("s3", "rm", f"s3://{bucket}/b/photos", "--recursive")
    assert not [key for key in listed(aws, bucket) if key.startswith("b/photos")]
    aws("s3", "rm", f"s3://{bucket}", "--recursive")
    assert listed(aws, bucket) == []


def test_ls_shows_directories_and_sizes(aws, bucket, tree):
    aws("s3", "cp", str(tree), f"s3://{bucket}", "--recursive")
    lines = aws("s3", "ls", f"s3://{bucket}/").stdout.decode().splitlines()
    assert [line.split()[-1] for line in lines] == ["big/", "photos/", "empty.bin", "readme.txt"]
    summary = aws("s3", "ls", f"s3://{bucket}", "--recursive", "--summarize").stdout.decode()
    assert f"Total Objects: {len(files_of(tree))}" in summary


def test_presign_gives_a_url_that_works(aws, bucket):
    aws("s3", "cp", "-", f"s3://{bucket}/k", stdin=b"by url")
    # aws-cli v1 presigns with SigV2 in us-east-1 unless told otherwise, and SigV2 is off here.
    aws("configure", "set", "default.s3.signature_version", "s3v4")
    url = aws("s3", "presign", f"s3://{bucket}/k").stdout.decode().strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"by url"


def test_headers_and_metadata_are_set_and_kept_over_a_copy(aws, bucket):
    aws(
        "s3", "cp", "-", f"s3://{bucket}/k", "--content-type", "text/x", "--cache-control", "no-store", "--metadata", "a=1,b=2",
        stdin=b"x",
    )
    aws("s3", "cp", f"s3://{bucket}/k", f"s3://{bucket}/copy")
    head = json.loads(aws("s3api", "head-object", "--bucket", bucket, "--key", "copy").stdout)
    assert (head["ContentType"], head["CacheControl"], head["Metadata"]) == ("text/x", "no-store", {"a": "1", "b": "2"})


def test_s3api_put_get_head_and_delete(aws, bucket, tmp_path):
    where = ["--bucket", bucket, "--key", "a key"]
    (tmp_path / "in").write_bytes(b"body")
    put = json.loads(aws("s3api", "put-object", *where, "--body", str(tmp_path / "in"), "--checksum-algorithm", "SHA256").stdout)
    assert put["ETag"] == etag(b"body") and put["ChecksumSHA256"]
    got = json.loads(aws("s3api", "get-object", *where, "--range", "bytes=1-2", str(tmp_path / "out")).stdout)
    assert ((tmp_path / "out").read_bytes(), got["ContentRange"]) == (b"od", "bytes 1-2/4")
    assert json.loads(aws("s3api", "head-object", *where).stdout)["ContentLength"] == 4
    refused = aws("s3api", "put-object", *where, "--if-none-match", "*", may_fail=True)
    assert refused.returncode != 0 and b"PreconditionFailed" in refused.stderr
    aws("s3api", "delete-object", *where)
    assert b"404" in aws("s3api", "head-object", *where, may_fail=True).stderr


@pytest.mark.parametrize("verb", ["list-objects", "list-objects-v2"])
def test_s3api_lists_by_pages(aws, bucket, s3, verb):
    for number in range(25):
        s3.put_object(Bucket=bucket, Key=f"k{number:02}", Body=b"")
    all_ = json.loads(aws("s3api", verb, "--bucket", bucket, "--page-size", "4").stdout)
    assert [o["Key"] for o in all_["Contents"]] == [f"k{number:02}" for number in range(25)]
    some = json.loads(aws("s3api", verb, "--bucket", bucket, "--max-items", "10").stdout)
    rest = json.loads(aws("s3api", verb, "--bucket", bucket, "--starting-token", some["NextToken"]).stdout)
    assert len(some["Contents"]) + len(rest["Contents"]) == 25


def test_an_error_is_told_in_s3s_words(aws):
    said = aws("s3", "ls", "s3://never-made-bucket", may_fail=True)
    assert said.returncode != 0 and b"NoSuchBucket" in said.stderr
    said = aws("s3", "ls", may_fail=True, AWS_SECRET_ACCESS_KEY="wrong")
    assert said.returncode != 0 and b"SignatureDoesNotMatch" in said.stderr
    said = aws("s3", "ls", may_fail=True, AWS_ACCESS_KEY_ID="UNKNOWN")
    assert said.returncode != 0 and b"InvalidAccessKeyId" in said.stderr
