"""polars: Parquet and CSV up, lazy scans by ranges and globs back, streamed sinks, partitions."""

import pytest

pl = pytest.importorskip("polars", reason="polars is not installed")


@pytest.fixture(scope="module")
def options(endpoint):
    return {
        "aws_endpoint_url": endpoint.url, "aws_region": endpoint.who.region, "aws_allow_http": "true",
        "aws_access_key_id": endpoint.who.access_key, "aws_secret_access_key": endpoint.who.secret_key,
    }


@pytest.fixture
def frame():
    return pl.DataFrame({"id": range(300_000)}).with_columns(part=pl.col("id") % 4, text=pl.col("id").hash().cast(pl.String))


def test_a_frame_goes_up_and_comes_back(options, bucket, frame):
    frame.write_parquet(f"s3://{bucket}/a b/ü.parquet", storage_options=options)
    assert pl.read_parquet(f"s3://{bucket}/a b/ü.parquet", storage_options=options).equals(frame)


def test_a_large_frame_goes_up_in_parts(options, s3, bucket):
    frame = pl.DataFrame({"id": range(2_500_000)}).with_columns(noise=pl.col("id").hash())
    frame.lazy().sink_parquet(f"s3://{bucket}/big.parquet", compression="uncompressed", storage_options=options)
    seen = s3.head_object(Bucket=bucket, Key="big.parquet")
    assert seen["ContentLength"] > 20_000_000 and "-" in seen["ETag"]
    assert pl.read_parquet(f"s3://{bucket}/big.parquet", storage_options=options).equals(frame)


def test_a_scan_reads_what_it_needs(options, bucket, frame):
    frame.write_parquet(f"s3://{bucket}/t.parquet", row_group_size=10_000, storage_options=options)
    found = pl.scan_parquet(f"s3://{bucket}/t.parquet", storage_options=options).filter(pl.col("id") == 123_456).select("text").collect()
    assert found.item() == frame["text"][123_456]


def test_a_glob_reads_every_file_once(options, bucket):
    for number in range(12):
        pl.DataFrame({"n": [number]}).write_csv(f"s3://{bucket}/dir/{number}.csv", storage_options=options)
    pl.DataFrame({"n": [99]}).write_csv(f"s3://{bucket}/other.csv", storage_options=options)
    assert pl.scan_csv(f"s3://{bucket}/dir/*.csv", storage_options=options).collect()["n"].sort().to_list() == list(range(12))


def test_partitions_are_written_and_read(options, s3, bucket, frame):
    frame.write_parquet(f"s3://{bucket}/parts/", partition_by="part", storage_options=options)
    folders = s3.list_objects_v2(Bucket=bucket, Prefix="parts/", Delimiter="/")["CommonPrefixes"]
    assert [folder["Prefix"] for folder in folders] == [f"parts/part={number}/" for number in range(4)]
    seen = pl.scan_parquet(f"s3://{bucket}/parts/", storage_options=options, hive_partitioning=True)
    assert seen.filter(pl.col("part") == 3).select("id").collect()["id"].sort().to_list() == list(range(3, 300_000, 4))


def test_an_overwritten_file_is_read_anew(options, bucket):
    for number in (1, 2):
        pl.DataFrame({"n": [number]}).write_parquet(f"s3://{bucket}/n.parquet", storage_options=options)
        assert pl.read_parquet(f"s3://{bucket}/n.parquet", storage_options=options)["n"].to_list() == [number]
