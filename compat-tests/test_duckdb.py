"""DuckDB over its httpfs extension: Parquet in parts, scans by ranges, globs, partitions, overwrites."""

from pathlib import Path

import pytest

ROWS = 200_000


@pytest.fixture
def db(endpoint):
    """A connection with the extension that a wheel brought: nothing is fetched at run time."""
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    httpfs = pytest.importorskip("duckdb_extension_httpfs", reason="duckdb-extension-httpfs is not installed")
    extension = next(Path(httpfs.__file__).parent.glob("extensions/*/httpfs.duckdb_extension"))
    db = duckdb.connect()
    db.execute(f"LOAD '{extension}'")
    db.execute(f"""CREATE SECRET (TYPE s3, KEY_ID '{endpoint.who.access_key}', SECRET '{endpoint.who.secret_key}', REGION '{endpoint.who.region}',
        ENDPOINT '{endpoint.host}:{endpoint.port}', URL_STYLE 'path', USE_SSL false)""")
    yield db
    db.close()


def make_rows(db, rows=ROWS):
    db.execute(f"CREATE TABLE t AS SELECT i AS id, md5(i::VARCHAR) AS text, i % 4 AS part FROM range({rows}) r(i)")


def one(db, query):
    return db.execute(query).fetchone()


def test_parquet_goes_up_in_parts_and_is_read_back(db, s3, bucket):
    make_rows(db, 600_000)
    db.execute("SET s3_uploader_max_filesize='50GB'")
    db.execute(f"COPY t TO 's3://{bucket}/t.parquet' (FORMAT parquet, COMPRESSION uncompressed)")
    seen = s3.head_object(Bucket=bucket, Key="t.parquet")
    assert seen["ContentLength"] > 5 * 1024 * 1024 and "-" in seen["ETag"]
    assert one(db, f"SELECT count(*) FROM (SELECT * FROM 's3://{bucket}/t.parquet' EXCEPT ALL SELECT * FROM t)") == (0,)
    assert one(db, f"SELECT count(*), sum(id) FROM 's3://{bucket}/t.parquet'") == (600_000, 600_000 * 599_999 // 2)


def test_one_row_is_found_by_ranges(db, bucket):
    make_rows(db)
    db.execute(f"COPY t TO 's3://{bucket}/t.parquet' (FORMAT parquet, ROW_GROUP_SIZE 10000)")
    assert one(db, f"SELECT text = md5('123456') FROM 's3://{bucket}/t.parquet' WHERE id = 123456") == (True,)


def test_a_glob_reads_every_file_once(db, bucket):
    for number in range(12):
        db.execute(f"COPY (SELECT {number} AS n) TO 's3://{bucket}/dir/a b={number}.csv' (HEADER)")
    db.execute(f"COPY (SELECT 99 AS n) TO 's3://{bucket}/other.csv' (HEADER)")
    assert one(db, f"SELECT count(*), sum(n) FROM read_csv('s3://{bucket}/dir/*.csv')") == (12, 66)
    assert one(db, f"SELECT count(*), sum(n) FROM read_csv('s3://{bucket}/**/*.csv')") == (13, 165)


def test_partitions_are_written_and_pruned(db, s3, bucket):
    make_rows(db)
    db.execute(f"COPY t TO 's3://{bucket}/parts' (FORMAT parquet, PARTITION_BY (part))")
    folders = s3.list_objects_v2(Bucket=bucket, Prefix="parts/", Delimiter="/")["CommonPrefixes"]
    assert [folder["Prefix"] for folder in folders] == [f"parts/part={number}/" for number in range(4)]
    assert one(db, f"SELECT count(*), min(id % 4), max(id % 4) FROM read_parquet('s3://{bucket}/parts/**/*.parquet') WHERE part = 3") == (ROWS // 4, 3, 3)


def test_an_overwritten_file_is_read_anew(db, bucket):
    for number in (1, 2):
        db.execute(f"COPY (SELECT {number} AS n) TO 's3://{bucket}/n.json'")
        assert one(db, f"SELECT n FROM 's3://{bucket}/n.json'") == (number,)


def test_a_missing_file_is_an_error_not_an_empty_table(db, bucket):
    import duckdb

    with pytest.raises(duckdb.HTTPException, match="404"):
        db.execute(f"SELECT * FROM read_parquet('s3://{bucket}/missing.parquet')")
