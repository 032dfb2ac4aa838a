"""Every legal key round-trips exactly as it was given, through every verb that takes one."""

import pytest

from expect import etag

ODD_KEYS = {
    "plain": "plain",
    "nested": "a/b/c.txt",
    "trailing slash": "folder/",
    "double slash": "a//b",
    "leading slash": "/leading",
    "only slashes": "///",
    "dot": ".",
    "dot dot": "..",
    "dot segment": "a/./b",
    "dot dot segment": "a/../b",
    "climbing": "../../etc/passwd",
    "hidden": ".hidden/.file",
    "space": "a b",
    "edge spaces": " a /  ",
    "plus": "a+b",
    "percent": "100%",
    "percent that looks encoded": "a%2Fb%20c",
    "our own escapes": "a%f/b%d",
    "ampersand and angle brackets": "a&b<c>d\"e'f",
    "question and hash": "a?b=c#d",
    "semicolon, colon, at": "a;b:c@d,e=f!g$h(i)*j",
    "backslash": "a\\b",
    "tilde, caret, pipe, braces": "~a^b|c{d}[e]`f",
    "newline and tab": "a\nb\tc",
    "carriage return": "a\rb",
    "control character": "a\x01b",
    "latin": "naïve/Ärger",
    "decomposed is another key": "na\u0131\u0308ve/A\u0308rger",
    "two bytes a character": "ключ/κλειδί",
    "three bytes a character": "鍵/열쇠",
    "private use": "\ue000\uf8ff",
    "just below the surrogates": "\ud7ff",
    "last of the first plane": "\ufffd",
    "emoji": "🏔/👩‍🚀",
    "ideographic plane": "\U00020000\U0002a6df",
    "last plane": "\U0010fffd",
    "1,024 bytes in one segment": "k" * 1024,
    "1,024 bytes of three each": "鍵" * 341 + "k",
    "1,024 bytes in short segments": "ab/" * 341 + "c",
    "255 byte segment": "s" * 255 + "/x",
    "256 byte segment": "s" * 256 + "/x",
    "windows device": "CON/aux.txt",
    "looks like our own names": ".anybucket/staging/x.tmp",
}
# The reserved prefix is ours on disk, not in S3: a store may refuse it (protocol: refused in every verb), never mix it up.
RESERVED = "looks like our own names"


@pytest.mark.parametrize("name", [name for name in ODD_KEYS if name != RESERVED])
def test_an_odd_key_round_trips(s3, bucket, name):
    key, body = ODD_KEYS[name], name.encode()
    put = s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"name": "odd"})
    assert put["ETag"] == etag(body)
    got = s3.get_object(Bucket=bucket, Key=key)
    assert (got["Body"].read(), got["Metadata"]) == (body, {"name": "odd"})
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(body)
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [o["Key"] for o in s3.list_objects(Bucket=bucket, Prefix=key)["Contents"]] == [key]
    s3.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": key})
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == body
    if any(character in key for character in "\x01\r"):  # XML 1.0 cannot carry these, so only the plain DELETE can
        s3.delete_object(Bucket=bucket, Key=key)
    else:
        removed = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
        assert [d["Key"] for d in removed["Deleted"]] == [key]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["copied"]


def test_all_odd_keys_live_side_by_side(s3, bucket):
    keys = [key for name, key in ODD_KEYS.items() if name != RESERVED]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    listed = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(keys, key=str.encode)
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()


def test_a_key_may_be_a_prefix_of_others_in_whichever_order_they_come(s3, bucket):
    first = ["a", "a/b", "a/b/c", "x/y/z", "x/y", "x", "p/", "p", "p/q", "q/r", "q/", "q"]
    for key in first:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in first:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    for key in ["a", "x/y", "p/", "q"]:
        s3.delete_object(Bucket=bucket, Key=key)
    left = sorted(set(first) - {"a", "x/y", "p/", "q"})
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == left
    for key in left:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()


def test_keys_that_a_careless_file_system_would_merge_stay_apart(s3, bucket):
    keys = ["k", "K", "é", "e\u0301", "a/b", "a//b", "a/./b", "a%2Fb", "a%252Fb", "a b", "a+b", "a%20b", "a/b/", "a/b/."]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key


def test_a_directory_is_not_an_object(s3, bucket, raw):
    s3.put_object(Bucket=bucket, Key="dir/file", Body=b"x")
    for key in ["dir", "dir/"]:
        assert raw.call("GET", f"/{bucket}/{key}").code == "NoSuchKey"
        assert raw.call("HEAD", f"/{bucket}/{key}").status == 404


def test_a_key_of_1025_bytes_is_refused(raw, bucket):
    answer = raw.call("PUT", f"/{bucket}/" + "k" * 1025, body=b"x")
    assert (answer.status, answer.code) == (400, "KeyTooLongError")


def test_reserved_names_never_reach_our_own_files(raw, s3, bucket):
    s3.put_object(Bucket=bucket, Key="seen", Body=b"x")
    for key in [".anybucket", ".anybucket/", ".anybucket/owner", "../.anybucket/owner", "%2e%2e/.anybucket/owner"]:
        answer = raw.call("GET", f"/{bucket}/{key}")
        assert answer.status in (400, 403, 404), (key, answer.status, answer.body[:200])
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["seen"]
