"""LIST shows every key once, in UTF-8 byte order, however it is cut into pages."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from expect import etag

COUNT = 2_345


@pytest.fixture(scope="module")
def many(s3, new_bucket):
    """A bucket of 2,345 keys in 47 directories, and the keys in order."""
    bucket = new_bucket()
    keys = sorted(f"d{n % 47:02}/k{n:05}" for n in range(COUNT))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode()), keys))
    return bucket, keys


def test_version_2_pages_hold_a_thousand_and_lose_nothing(s3, many):
    bucket, keys = many
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [page["KeyCount"] for page in pages] == [1000, 1000, 345]
    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    assert [o["Key"] for page in pages for o in page["Contents"]] == keys


def test_version_1_pages_by_marker(s3, many):
    bucket, keys = many
    pages = list(s3.get_paginator("list_objects").paginate(Bucket=bucket))
    assert [o["Key"] for page in pages for o in page["Contents"]] == keys
    assert "NextMarker" not in pages[0], "NextMarker is only said with a delimiter"


@pytest.mark.parametrize("size", [1, 7, 46, 47, 48])
def test_common_prefixes_come_once_over_any_page_size(s3, many, size):
    bucket, keys = many
    wanted = sorted({key[:4] for key in keys})
    for verb in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(verb).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size})
        found = []
        for page in pages:
            entries = [p["Prefix"] for p in page.get("CommonPrefixes", [])]
            assert len(entries) <= size and "Contents" not in page
            found += entries
        assert found == wanted, verb


def test_prefix_delimiter_and_paging_together(s3, many):
    bucket, keys = many
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="d1", Delimiter="/k0", PaginationConfig={"PageSize": 3})
    found = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
    assert found == sorted({key[:6] for key in keys if key.startswith("d1")})


def test_start_after_is_exclusive_and_need_not_exist(s3, many):
    bucket, keys = many
    at = s3.list_objects_v2(Bucket=bucket, StartAfter=keys[1500], MaxKeys=3)
    assert [o["Key"] for o in at["Contents"]] == keys[1501:1504]
    between = s3.list_objects_v2(Bucket=bucket, StartAfter=keys[1500] + "!", MaxKeys=1)
    assert [o["Key"] for o in between["Contents"]] == keys[1501:1502]
    beyond = s3.list_objects_v2(Bucket=bucket, StartAfter="zzz")
    assert beyond["KeyCount"] == 0 and not beyond["IsTruncated"]


def test_a_common_prefix_behind_start_after_is_left_out(s3, many):
    bucket, _ = many
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/", StartAfter="d44/zzz")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["d45/", "d46/"]
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/", StartAfter="d45/zzz")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["d46/"]
    page = s3.list_objects(Bucket=bucket, Delimiter="/", Marker="d45/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["d46/"], "a marker that is a prefix has been shown"


def test_asking_for_no_keys_gives_none(s3, many):
    bucket, _ = many
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (page["KeyCount"], page["IsTruncated"], "Contents" in page) == (0, False, False)


def test_more_than_a_thousand_is_cut_to_a_thousand(s3, many):
    bucket, _ = many
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)["KeyCount"] == 1000


def test_an_entry_says_what_head_says(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"twelve bytes")
    entry = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (entry["ETag"], entry["Size"], entry["StorageClass"]) == (etag(b"twelve bytes"), 12, "STANDARD")
    assert entry["LastModified"].replace(microsecond=0) == head["LastModified"]


def test_the_order_is_that_of_utf8_bytes(s3, bucket):
    # UTF-16 sorts the supplementary planes before U+FF5E, a path-wise walk sorts "a/" before "a-".
    keys = ["a", "a-", "a-b", "a/", "a/b", "a0", "Z", "z", "é", "～", "\ue000", "🏔", "\U0010fffd"]
    for key in reversed(keys):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    wanted = sorted(keys, key=str.encode)
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == wanted
    paged = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [o["Key"] for page in paged for o in page["Contents"]] == wanted


def test_delimiters_of_any_length_and_alphabet(s3, bucket):
    for key in ["a--b--c", "a--d", "a-e", "x日本y", "x日z", "plain"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")

    def cut(delimiter, **more):
        page = s3.list_objects_v2(Bucket=bucket, Delimiter=delimiter, **more)
        return [p["Prefix"] for p in page.get("CommonPrefixes", [])], [o["Key"] for o in page.get("Contents", [])]

    assert cut("--") == (["a--"], ["a-e", "plain", "x日z", "x日本y"])
    assert cut("日本") == (["x日本"], ["a--b--c", "a--d", "a-e", "plain", "x日z"])
    assert cut("--", Prefix="a--") == (["a--b--"], ["a--d"])
    assert cut("never") == ([], sorted(["a--b--c", "a--d", "a-e", "x日本y", "x日z", "plain"], key=str.encode))


def test_keys_xml_cannot_carry_come_url_encoded_when_asked(raw, s3, bucket):
    for key in ["a b+c", "a\x01b", "ü/ü"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    page = raw.call("GET", f"/{bucket}", {"list-type": "2", "encoding-type": "url", "delimiter": "/"}).xml()
    assert page.findtext("EncodingType") == "url"
    assert [c.findtext("Key") for c in page.findall("Contents")] == ["a%01b", "a%20b%2Bc"]
    assert [c.findtext("Prefix") for c in page.findall("CommonPrefixes")] == ["%C3%BC/"]


def test_the_owner_is_told_when_asked(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert "Owner" not in s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"]


def test_versions_of_an_unversioned_bucket_are_the_null_ones(s3, bucket):
    for key in ["a", "b/1", "b/2"]:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    page = s3.list_object_versions(Bucket=bucket)
    assert [(v["Key"], v["VersionId"], v["IsLatest"]) for v in page["Versions"]] == [
        ("a", "null", True), ("b/1", "null", True), ("b/2", "null", True)
    ]
    assert "DeleteMarkers" not in page
    assert [p["Prefix"] for p in s3.list_object_versions(Bucket=bucket, Delimiter="/")["CommonPrefixes"]] == ["b/"]


@pytest.mark.parametrize("query", [{"max-keys": "-1"}, {"max-keys": "many"}, {"encoding-type": "base64"}])
def test_senseless_questions_are_refused(raw, bucket, query):
    answer = raw.call("GET", f"/{bucket}", {"list-type": "2"} | query)
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_a_made_up_token_is_refused(raw, bucket):
    answer = raw.call("GET", f"/{bucket}", {"list-type": "2", "continuation-token": "%%%not-ours%%%"})
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_a_thousand_objects_are_deleted_in_one_request(s3, bucket):
    keys = [f"gone/{n:04}" for n in range(1000)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b"x"), [*keys, "stays"]))
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == keys and "Errors" not in answer
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["stays"]


def test_deleting_many_may_be_quiet_and_knows_no_missing_keys(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    loud = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "never"}]})
    assert sorted(d["Key"] for d in loud["Deleted"]) == ["a", "never"]
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}], "Quiet": True})
    assert "Deleted" not in quiet and "Errors" not in quiet
