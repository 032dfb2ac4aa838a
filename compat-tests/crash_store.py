"""A bucket in the service that holds it, as a stranger reads it: no body may lie there under a name of its own that nothing names."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from email.utils import formatdate
from urllib.parse import quote, urlencode

from crash_record import Write
from rawhttp import Client
from sigv4 import Credentials
from stores import MAIN, Service

OWN = ".anybucket/v/"


class Stored:
    """One bucket of a service: which names there are, and what lies at them. Each asks in a service's own protocol."""

    def __init__(self, service: Service, bucket: str) -> None:
        self.service, self.bucket = service, bucket

    def names(self, prefix: str = "") -> list[str]:
        raise NotImplementedError

    def body(self, name: str) -> bytes:
        raise NotImplementedError

    def fetch(self, target: str, headers: dict[str, str] | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        try:
            connection.request("GET", target, headers=headers or {})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{self.service.name}: GET {target} answered {answer.status}: {body[:300]!r}")
        return body

    def digest(self, name: str) -> str:
        return hashlib.md5(self.body(name)).hexdigest()

    def strays(self, live: dict[str, Write]) -> list[str]:
        """Own names that hold what no object has: an object's bytes may be at one such name, and need not be at any."""
        owners = {spelling: key for key in live for spelling in (key, hashed(key))}
        taken, strays = Counter(), []
        for name in self.names(OWN):
            key = owners.get(name[len(OWN):].rpartition("@")[0])
            if key is None or taken[key] or self.digest(name) != live[key].md5:
                strays.append(name)
            else:
                taken[key] += 1
        return strays

    def strangers(self, live: dict[str, Write]) -> list[str]:
        """Plain names of keys that are no objects."""
        return [name for name in self.names() if not name.startswith(".anybucket/") and name not in live]


def hashed(key: str) -> str:
    """How an own name says a key that the service cannot spell."""
    return "#" + hashlib.sha256(key.encode()).hexdigest()


class S3(Stored):
    def client(self) -> Client:
        said = self.service.settings
        return Client("127.0.0.1", self.service.port, Credentials(said[MAIN + "ACCESS_KEY"], said[MAIN + "SECRET_KEY"]))

    def names(self, prefix: str = "") -> list[str]:
        return [entry.findtext("Key") for entry in self.client().list(self.bucket, prefix=prefix)]

    def body(self, name: str) -> bytes:
        answer = self.client().call("GET", f"/{self.bucket}/{name}")
        if answer.status != 200:
            raise RuntimeError(f"GET {name} answered {answer.status}: {answer.body[:300]!r}")
        return answer.body


class Azure(Stored):
    """Signed as https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key says."""

    ACCOUNT = "devstoreaccount1"

    def get(self, name: str, query: dict[str, str]) -> bytes:
        path = f"/{self.ACCOUNT}/{self.bucket}" + (f"/{quote(name)}" if name else "")
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        text = "GET" + "\n" * 12 + "".join(f"{key}:{value}\n" for key, value in headers.items())
        text += f"/{self.ACCOUNT}{path}" + "".join(f"\n{key}:{query[key]}" for key in sorted(query))
        key = base64.b64decode(self.service.settings[MAIN + "ACCOUNT_KEY"])
        signature = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
        return self.fetch(f"{path}?{urlencode(query, quote_via=quote)}", headers | {"authorization": f"SharedKey {self.ACCOUNT}:{signature}"})

    def names(self, prefix: str = "") -> list[str]:
        names, query = [], {"restype": "container", "comp": "list", "prefix": prefix}
        while True:
            page = ElementTree.fromstring(self.get("", query))
            names += [blob.findtext("Name") for blob in page.iter("Blob")]
            if not (marker := page.findtext("NextMarker")):
                return names
            query["marker"] = marker

    def body(self, name: str) -> bytes:
        return self.get(name, {})


class Gcs(Stored):
    def names(self, prefix: str = "") -> list[str]:
        names, query = [], {"prefix": prefix}
        while True:
            page = json.loads(self.fetch(f"/storage/v1/b/{self.bucket}/o?{urlencode(query)}"))
            names += [item["name"] for item in page.get("items", [])]
            if "nextPageToken" not in page:
                return names
            query["pageToken"] = page["nextPageToken"]

    def body(self, name: str) -> bytes:
        # Who does not take gzip is given something else than what was stored as that.
        return self.fetch(f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}?alt=media", {"accept-encoding": "gzip"})


VIEWS = {"versitygw": S3, "s3proxy": S3, "minio": S3, "azurite": Azure, "gcs": Gcs}


def view(service: Service, bucket: str) -> Stored:
    return VIEWS[service.name](service, bucket)
