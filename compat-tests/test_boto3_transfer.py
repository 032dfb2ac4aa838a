"""boto3's transfer manager, as programs use it: large files in parallel parts, streams, ranges, managed copies."""

import io
import os

import pytest

from expect import MIB, etag, etag_of_parts

SIZE = 33 * MIB + 11


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    path = tmp_path_factory.mktemp("transfer") / "big.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def config(**said):
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(**({"multipart_threshold": 8 * MIB, "multipart_chunksize": 8 * MIB, "max_concurrency": 4} | said))


def test_a_large_file_goes_up_and_down_in_parallel_parts(s3, bucket, big, tmp_path):
    s3.upload_file(str(big), bucket, "big", Config=config(), ExtraArgs={"Metadata": {"from": "test"}, "ContentType": "x/y"})
    head = s3.head_object(Bucket=bucket, Key="big")
    body = big.read_bytes()
    parts = [body[at : at + 8 * MIB] for at in range(0, SIZE, 8 * MIB)]
    assert (head["ContentLength"], head["ETag"]) == (SIZE, etag_of_parts(parts))
    assert (head["Metadata"], head["ContentType"]) == ({"from": "test"}, "x/y")
    s3.download_file(bucket, "big", str(tmp_path / "down"), Config=config())
    assert (tmp_path / "down").read_bytes() == body


def runtime_manager(endpoint):
    """The transfer manager on AWS's common runtime. boto3 itself sends that one to amazonaws.com whatever endpoint it is given."""
    pytest.importorskip("awscrt", reason="boto3[crt] is not installed")
    from botocore.credentials import Credentials
    from botocore.session import Session
    from s3transfer import crt

    keys = crt.BotocoreCRTCredentialsWrapper(Credentials(endpoint.who.access_key, endpoint.who.secret_key))
    client = crt.create_s3_crt_client(endpoint.who.region, keys.to_crt_credentials_provider(), use_ssl=False)
    said = {"region_name": endpoint.who.region, "endpoint_url": endpoint.url}
    return crt.CRTTransferManager(client, crt.BotocoreCRTRequestSerializer(Session(), said))


def test_the_common_runtime_transfers_too(endpoint, s3, bucket, big, tmp_path):
    with runtime_manager(endpoint) as manager:
        manager.upload(str(big), bucket, "big").result()
        manager.download(bucket, "big", str(tmp_path / "down")).result()
    assert (tmp_path / "down").read_bytes() == big.read_bytes()
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-5"')


class Unseekable(io.RawIOBase):
    """A pipe, as far as boto3 can see: no length, no way back."""

    def __init__(self, body: bytes) -> None:
        self.inner = io.BytesIO(body)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self.inner.readinto(buffer)


@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 17 * MIB])
def test_a_stream_of_unknown_length_arrives_whole(s3, bucket, size):
    body = os.urandom(size)
    s3.upload_fileobj(Unseekable(body), bucket, "stream", Config=config())
    back = io.BytesIO()
    s3.download_fileobj(bucket, "stream", back, Config=config())
    assert back.getvalue() == body


def test_a_large_object_is_copied_by_parts_inside_the_server(s3, bucket, big):
    s3.upload_file(str(big), bucket, "source", Config=config())
    s3.copy({"Bucket": bucket, "Key": "source"}, bucket, "copy", Config=config())
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == big.read_bytes()
    assert s3.head_object(Bucket=bucket, Key="copy")["ETag"].endswith('-5"')


def test_a_small_file_is_one_put_with_its_md5_as_etag(s3, bucket, tmp_path):
    (tmp_path / "small").write_bytes(b"small")
    s3.upload_file(str(tmp_path / "small"), bucket, "small", Config=config())
    assert s3.head_object(Bucket=bucket, Key="small")["ETag"] == etag(b"small")


def test_an_upload_replaces_and_is_never_seen_half_way(s3, bucket, big):
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    s3.upload_file(str(big), bucket, "k", Config=config(), Callback=lambda _: _old_or_new(s3, bucket))
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == SIZE


def _old_or_new(s3, bucket):
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] in (3, SIZE)
