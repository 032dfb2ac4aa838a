"""boto3 as the tests of several processes use it: at a site, and at the S3 service behind one."""

from __future__ import annotations

import boto3
from botocore.config import Config

import server
import stores


def client(host: str, port: int, access_key: str, secret_key: str, **said):
    """Asks once and no more, unless it is told otherwise."""
    config = Config(**{"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}} | said)
    return boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id=access_key, aws_secret_access_key=secret_key,
        region_name="us-east-1", config=config,
    )


def at_site(site: server.Anybucket, **said):
    return client(site.host, site.port, site.credentials.access_key, site.credentials.secret_key, **said)


def at_store(store: stores.Service):
    return client("127.0.0.1", store.port, store.settings[stores.MAIN + "ACCESS_KEY"], store.settings[stores.MAIN + "SECRET_KEY"])
