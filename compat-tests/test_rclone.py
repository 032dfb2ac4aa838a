"""rclone as people run it: copy, sync, check, move, stream; it compares what it sent by ETag and by its own metadata."""

import json
import os
import re

import pytest

from conftest import files_of
from expect import MIB

PARTS = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M"]


def lsf(rclone, where, *more):
    return rclone("lsf", where, *more).stdout.decode().splitlines()


def transferred(done) -> int:
    """How many files a `-v --stats-one-line=false` run says it moved."""
    found = re.findall(r"Transferred:\s+(\d+) / \d+, ", done.stderr.decode())
    return int(found[-1]) if found else 0


def test_a_directory_goes_up_is_checked_and_comes_back(rclone, bucket, tree, tmp_path):
    rclone("copy", str(tree), f"any:{bucket}/tree", *PARTS)
    rclone("check", str(tree), f"any:{bucket}/tree")
    rclone("check", "--download", str(tree), f"any:{bucket}/tree")
    rclone("copy", f"any:{bucket}/tree", str(tmp_path / "back"))
    assert files_of(tmp_path / "back") == files_of(tree)


def test_check_sees_one_changed_byte(rclone, bucket, tree):
    rclone("copy", str(tree), f"any:{bucket}")
    (tree / "photos/2026/über uns.jpg").write_bytes(os.urandom(70_000))
    done = rclone("check", str(tree), f"any:{bucket}", may_fail=True)
    assert done.returncode != 0 and b"1 differences found" in done.stderr


def test_sync_moves_only_what_changed_and_removes_the_rest(rclone, bucket, tree):
    there = f"any:{bucket}/mirror"
    assert transferred(rclone("sync", "-v", str(tree), there)) == len(files_of(tree))
    assert transferred(rclone("sync", "-v", str(tree), there)) == 0
    assert transferred(rclone("sync", "-v", "--checksum", str(tree), there)) == 0
    (tree / "readme.txt").write_bytes(b"changed\n")
    (tree / "empty.bin").unlink()
    assert transferred(rclone("sync", "-v", str(tree), there)) == 1
    rclone("check", "--download", str(tree), there)
    assert sorted(lsf(rclone, there, "-R", "--files-only")) == sorted(files_of(tree))


def test_modification_times_survive(rclone, bucket, tree, tmp_path):
    os.utime(tree / "readme.txt", ns=(10**18 + 123_456_789, 10**18 + 123_456_789))
    rclone("copy", str(tree), f"any:{bucket}")
    rclone("copy", f"any:{bucket}", str(tmp_path / "back"))
    assert (tmp_path / "back/readme.txt").stat().st_mtime_ns == 10**18 + 123_456_789
    rclone("touch", f"any:{bucket}/readme.txt", "--timestamp", "2001-02-03T04:05:06")
    assert lsf(rclone, f"any:{bucket}/readme.txt", "--format", "t") == ["2001-02-03 04:05:06"]


def test_large_files_go_in_parts_and_by_server_side_copy(rclone, bucket, tmp_path):
    body = os.urandom(23 * MIB)
    (tmp_path / "big").write_bytes(body)
    rclone("copyto", str(tmp_path / "big"), f"any:{bucket}/big", *PARTS, "--s3-upload-concurrency", "4")
    rclone("copyto", f"any:{bucket}/big", f"any:{bucket}/copy", "--s3-copy-cutoff", "5M", "--s3-chunk-size", "5M")
    rclone("moveto", f"any:{bucket}/copy", f"any:{bucket}/moved")
    assert lsf(rclone, f"any:{bucket}") == ["big", "moved"]
    assert rclone("cat", f"any:{bucket}/moved").stdout == body
    assert rclone("cat", f"any:{bucket}/moved", "--offset", "7000000", "--count", "99").stdout == body[7_000_000:7_000_099]


def test_large_downloads_in_parallel_ranges(rclone, bucket, tmp_path):
    body = os.urandom(40 * MIB)
    (tmp_path / "big").write_bytes(body)
    rclone("copyto", str(tmp_path / "big"), f"any:{bucket}/big")
    rclone("copyto", f"any:{bucket}/big", str(tmp_path / "back"), "--multi-thread-cutoff", "5M", "--multi-thread-streams", "4")
    assert (tmp_path / "back").read_bytes() == body


@pytest.mark.parametrize("size", [0, 1, 100 * 1024 + 1, 12 * MIB])
def test_a_stream_of_unknown_length(rclone, bucket, size):
    body = os.urandom(size)
    rclone("rcat", f"any:{bucket}/stream", *PARTS, stdin=body)
    assert rclone("cat", f"any:{bucket}/stream").stdout == body


def test_more_than_a_thousand_files_list_in_order_and_are_purged(rclone, bucket, tmp_path):
    names = [f"{number:04}.txt" for number in range(1_100)]
    (tmp_path / "many").mkdir()
    for name in names:
        (tmp_path / "many" / name).write_text(name)
    rclone("copy", str(tmp_path / "many"), f"any:{bucket}/many", "--transfers", "16")
    assert lsf(rclone, f"any:{bucket}/many") == names
    rclone("check", str(tmp_path / "many"), f"any:{bucket}/many", "--checkers", "16")
    rclone("purge", f"any:{bucket}/many")
    assert lsf(rclone, f"any:{bucket}", "-R") == []


def test_names_rclone_itself_finds_odd(rclone, bucket, tmp_path):
    for name in ["a b", " lead", "trail ", "tab\there", "per%cent", "plus+", "q?uestion", "ha#sh", "quo'te\"", "sta*r", "back\\slash", "日本", "🏔"]:
        (tmp_path / "odd").mkdir(exist_ok=True)
        (tmp_path / "odd" / name).write_bytes(name.encode())
    rclone("copy", str(tmp_path / "odd"), f"any:{bucket}")
    rclone("check", "--download", str(tmp_path / "odd"), f"any:{bucket}")
    rclone("copy", f"any:{bucket}", str(tmp_path / "back"))
    assert files_of(tmp_path / "back") == files_of(tmp_path / "odd")


def test_lsjson_tells_md5_size_and_type(rclone, bucket, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"hello")
    rclone("copy", str(tmp_path / "a.txt"), f"any:{bucket}")
    (entry,) = json.loads(rclone("lsjson", "--hash", f"any:{bucket}").stdout)
    assert (entry["Path"], entry["Size"], entry["Hashes"]["md5"]) == ("a.txt", 5, "5d41402abc4b2a76b9719d911017c592")
    assert entry["MimeType"].startswith("text/plain")


def test_delete_by_filter_leaves_the_rest(rclone, bucket, tree):
    rclone("copy", str(tree), f"any:{bucket}")
    rclone("delete", f"any:{bucket}", "--include", "*.jpg")
    assert sorted(lsf(rclone, f"any:{bucket}", "-R", "--files-only")) == ["big/disk.img", "empty.bin", "readme.txt"]
    rclone("deletefile", f"any:{bucket}/readme.txt")
    assert sorted(lsf(rclone, f"any:{bucket}", "-R", "--files-only")) == ["big/disk.img", "empty.bin"]


def test_buckets_are_made_listed_and_removed(rclone):
    rclone("mkdir", "any:rclone-made")
    assert "rclone-made/" in lsf(rclone, "any:")
    rclone("rmdir", "any:rclone-made")
    assert "rclone-made/" not in lsf(rclone, "any:")


def test_an_interrupted_upload_can_be_cleaned_up(rclone, s3, bucket):
    s3.create_multipart_upload(Bucket=bucket, Key="left")
    assert b"left" in rclone("backend", "list-multipart-uploads", f"any:{bucket}").stdout
    rclone("backend", "cleanup", "-o", "max-age=0s", f"any:{bucket}")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
