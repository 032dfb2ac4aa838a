"""pyarrow's own S3 file system: streams, random reads, metadata, listings, copies, partitioned datasets."""

import os

import pytest

from expect import MIB, etag, put_empty

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
import pyarrow.compute  # noqa: E402
import pyarrow.dataset  # noqa: E402
import pyarrow.fs  # noqa: E402
import pyarrow.parquet  # noqa: E402


@pytest.fixture(scope="module")
def fs(endpoint):
    return pa.fs.S3FileSystem(
        access_key=endpoint.who.access_key, secret_key=endpoint.who.secret_key, region=endpoint.who.region, scheme="http",
        endpoint_override=f"{endpoint.host}:{endpoint.port}", allow_bucket_creation=True, allow_bucket_deletion=True,
    )


@pytest.mark.parametrize("size", [0, 1, 100_003, 23 * MIB])
def test_a_stream_goes_up_and_comes_back(fs, s3, bucket, size):
    body = os.urandom(size)
    with fs.open_output_stream(f"{bucket}/k") as out:
        out.write(body)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    with fs.open_input_stream(f"{bucket}/k") as back:
        assert back.read() == body


def test_random_reads_are_those_bytes(fs, s3, bucket):
    body = os.urandom(1 * MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    with fs.open_input_file(f"{bucket}/k") as file:
        assert file.size() == len(body)
        for at, count in [(0, 1), (500_000, 99), (len(body) - 5, 5), (123, 70_000)]:
            assert file.read_at(count, at) == body[at : at + count]


def test_type_and_metadata_come_back(fs, s3, bucket):
    with fs.open_output_stream(f"{bucket}/k", metadata={"Content-Type": "text/x-test", "colour": "blue"}) as out:
        out.write(b"hello")
    seen = s3.head_object(Bucket=bucket, Key="k")
    assert (seen["ContentType"], seen["ETag"]) == ("text/x-test", etag(b"hello")) or "-" in seen["ETag"]
    with fs.open_input_stream(f"{bucket}/k") as back:
        assert back.metadata()["Content-Type"] == b"text/x-test"


def test_a_listing_tells_files_from_folders(fs, s3, bucket):
    for key in ["a", "dir/b", "dir/deep/c d/ü"]:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    found = fs.get_file_info(pa.fs.FileSelector(bucket, recursive=True))
    files = {entry.path: entry.size for entry in found if entry.type == pa.fs.FileType.File}
    assert files == {f"{bucket}/{key}": len(key.encode()) for key in ["a", "dir/b", "dir/deep/c d/ü"]}
    folders = sorted(entry.path for entry in found if entry.type == pa.fs.FileType.Directory)
    assert folders == [f"{bucket}/dir", f"{bucket}/dir/deep", f"{bucket}/dir/deep/c d"]
    assert fs.get_file_info(f"{bucket}/missing").type == pa.fs.FileType.NotFound


def test_more_than_a_thousand_files_are_listed_and_deleted(fs, s3, bucket):
    put_empty(s3, bucket, [f"dir/{number:04}" for number in range(1_050)])
    assert len(fs.get_file_info(pa.fs.FileSelector(f"{bucket}/dir"))) == 1_050
    fs.delete_dir_contents(f"{bucket}/dir")
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])] in ([], ["dir/"])


def test_copy_move_and_delete(fs, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"hello")
    fs.copy_file(f"{bucket}/a b/ü", f"{bucket}/copy")
    fs.move(f"{bucket}/copy", f"{bucket}/moved")
    fs.delete_file(f"{bucket}/a b/ü")
    files = fs.get_file_info(pa.fs.FileSelector(bucket))
    assert [entry.path for entry in files if entry.type == pa.fs.FileType.File] == [f"{bucket}/moved"]
    assert s3.get_object(Bucket=bucket, Key="moved")["Body"].read() == b"hello"


def test_buckets_and_folders_are_made_and_removed(fs, s3):
    fs.create_dir("pyarrow-made/deep/er", recursive=True)
    assert fs.get_file_info("pyarrow-made/deep").type == pa.fs.FileType.Directory
    fs.delete_dir("pyarrow-made")
    assert "pyarrow-made" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def test_a_partitioned_dataset_is_written_filtered_and_read(fs, bucket):
    table = pa.table({"id": range(50_000), "part": [number % 3 for number in range(50_000)]})
    pa.dataset.write_dataset(table, f"{bucket}/set", filesystem=fs, format="parquet", partitioning=["part"], partitioning_flavor="hive")
    seen = pa.dataset.dataset(f"{bucket}/set", filesystem=fs, partitioning="hive")
    assert seen.to_table().sort_by("id").select(["id", "part"]).to_pydict() == table.to_pydict()
    few = seen.to_table(filter=(pa.compute.field("part") == 2) & (pa.compute.field("id") < 300))
    assert sorted(few["id"].to_pylist()) == list(range(2, 300, 3))
