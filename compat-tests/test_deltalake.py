"""Delta Lake, whose log is a race for the next number: each commit is a PUT that must find nothing there."""

import pytest

from expect import at_once

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
deltalake = pytest.importorskip("deltalake", reason="deltalake is not installed")


@pytest.fixture
def table(endpoint, bucket):
    return f"s3://{bucket}/table"


@pytest.fixture(scope="module")
def options(endpoint):
    return {
        "AWS_ENDPOINT_URL": endpoint.url, "AWS_REGION": endpoint.who.region, "AWS_ALLOW_HTTP": "true", "conditional_put": "etag",
        "AWS_ACCESS_KEY_ID": endpoint.who.access_key, "AWS_SECRET_ACCESS_KEY": endpoint.who.secret_key,
    }


def rows(*numbers):
    return pa.table({"n": list(numbers)})


def read(table, options, version=None):
    return sorted(deltalake.DeltaTable(table, version=version, storage_options=options).to_pyarrow_table()["n"].to_pylist())


def test_rows_are_appended_and_replaced_and_every_version_is_kept(table, options):
    deltalake.write_deltalake(table, rows(1, 2), storage_options=options)
    deltalake.write_deltalake(table, rows(3), mode="append", storage_options=options)
    deltalake.write_deltalake(table, rows(9), mode="overwrite", storage_options=options)
    assert [read(table, options, version) for version in range(3)] == [[1, 2], [1, 2, 3], [9]]
    assert read(table, options) == [9]


def test_a_table_is_not_created_twice(table, options):
    deltalake.write_deltalake(table, rows(1), storage_options=options)
    with pytest.raises(deltalake.exceptions.DeltaError):
        deltalake.write_deltalake(table, rows(2), storage_options=options)
    assert read(table, options) == [1]


def test_appends_at_once_are_all_kept_and_each_is_one_version(table, options, s3, bucket):
    deltalake.write_deltalake(table, rows(0), storage_options=options)
    retries = deltalake.CommitProperties(max_commit_retries=50)

    def append(number):
        deltalake.write_deltalake(table, rows(number + 1), mode="append", storage_options=options, commit_properties=retries)

    at_once(12, append)
    assert read(table, options) == list(range(13))
    log = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix="table/_delta_log/0")["Contents"]]
    assert [key for key in log if key.endswith(".json")] == [f"table/_delta_log/{version:020}.json" for version in range(13)]


def test_rows_are_deleted_updated_and_merged(table, options):
    deltalake.write_deltalake(table, rows(*range(10)), storage_options=options)
    seen = deltalake.DeltaTable(table, storage_options=options)
    seen.delete("n >= 5")
    seen.update(updates={"n": "n + 100"}, predicate="n = 0")
    merge = seen.merge(rows(1, 50), predicate="t.n = s.n", source_alias="s", target_alias="t")
    merge.when_not_matched_insert_all().execute()
    assert read(table, options) == [1, 2, 3, 4, 50, 100]


def test_compaction_and_vacuum_leave_the_rows_and_fewer_files(table, options, s3, bucket):
    for number in range(6):
        deltalake.write_deltalake(table, rows(number), mode="append", storage_options=options)
    seen = deltalake.DeltaTable(table, storage_options=options)
    seen.optimize.compact()
    seen.create_checkpoint()
    seen.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    data = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix="table/")["Contents"] if "_delta_log" not in entry["Key"]]
    assert (len(data), read(table, options)) == (1, list(range(6)))
