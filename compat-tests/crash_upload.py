"""Multipart uploads in the crash test: one open upload a thread, a step at a time, so that crashes fall between steps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from crash_record import Write, kind_of, make_body

PART_BYTES = 5 * 1024 * 1024


@dataclass
class Upload:
    """What the server has acknowledged of one upload."""

    key: str
    id: str
    parts: list[bytes]
    write: Write
    sent: dict[int, str] = field(default_factory=dict)  # part number -> ETag
    ending: str = ""  # "complete" or "abort" once that was asked

    def document(self) -> bytes:
        inner = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in sorted(self.sent.items()))
        return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()


class UploadSteps:
    """The part of a worker that speaks multipart; `self.upload` survives the server's death."""

    def step(self) -> None:
        if self.upload is None:
            self.start_upload()
        elif len(self.upload.sent) < len(self.upload.parts):
            self.send_part()
        elif self.upload.ending:
            return  # no answer told how it ended: it rests until the next check
        elif self.random.random() < 0.2:
            self.abort_upload()
        else:
            self.complete_upload()

    def start_upload(self) -> None:
        key, label = self.keys[0], self.next_label()
        body = make_body(self.target.seed, key, label, PART_BYTES + self.random.randrange(1, 100_000))
        parts = [body[:PART_BYTES], body[PART_BYTES:]]
        etag = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest() + "-2"
        write = Write(label, hashlib.md5(body).hexdigest(), len(body), (etag,), kind_of(label))
        answer = self.call("POST", key, {"uploads": ""}, write.headers())
        if answer.status == 200:
            self.upload = Upload(key, answer.field("UploadId"), parts, write)

    def send_part(self) -> None:
        upload = self.upload
        number = len(upload.sent) + 1
        answer = self.call("PUT", upload.key, {"uploadId": upload.id, "partNumber": str(number)}, None, upload.parts[number - 1])
        if answer.status == 200:
            upload.sent[number] = answer.headers["etag"]
            self.tally.counts["parts"] += 1
        elif answer.status < 500:
            self.lost_upload(f"part {number} answered {answer.status}")

    def abort_upload(self) -> None:
        self.upload.ending = "abort"
        if self.call("DELETE", self.upload.key, {"uploadId": self.upload.id}).status == 204:
            self.upload = None

    def complete_upload(self) -> None:
        upload = self.upload
        if upload.key in self.record.unsure:
            return
        upload.ending = "complete"
        self.record.begin(upload.key, upload.write)
        answer = self.call("POST", upload.key, {"uploadId": upload.id}, None, upload.document())
        self.finish(upload.key, answer, 200, "writes")
        if answer.status == 200:
            self.upload = None
        elif answer.status < 500:
            self.lost_upload(f"Complete answered {answer.status}")

    def lost_upload(self, why: str) -> None:
        self.fault("lost", f"{self.upload.key}: upload {self.upload.id} with parts {sorted(self.upload.sent)} acknowledged: {why}")
        self.upload = None

    def settle_upload(self) -> None:
        """After a restart: acknowledged parts are there; an ending that was asked for is asked for again."""
        if self.upload is None:
            return
        if self.upload.ending == "complete":
            self.complete_again()
        elif self.upload.ending == "abort":
            self.abort_upload_again()
        else:
            self.check_parts()

    def check_parts(self) -> None:
        upload = self.upload
        answer = self.call("GET", upload.key, {"uploadId": upload.id})
        if answer.status != 200:
            return self.lost_upload(f"ListParts answered {answer.status}")
        listed = {int(part.findtext("PartNumber")): part.findtext("ETag") for part in answer.xml().findall("Part")}
        if any(listed.get(number) != etag for number, etag in upload.sent.items()):
            self.lost_upload(f"lists {listed}")

    def complete_again(self) -> None:
        """A Complete without an answer may have happened or not; repeating it must end in the object either way."""
        upload, self.upload = self.upload, None
        answer = self.call("POST", upload.key, {"uploadId": upload.id}, None, upload.document())
        if answer.status == 200:
            self.record.settle(upload.key, upload.write)
        elif answer.status != 404 or self.client.call("HEAD", f"/{self.target.bucket}/{upload.key}").headers["x-amz-meta-write"] != upload.write.label:
            self.fault("lost", f"{upload.key}: Complete repeated after the restart answered {answer.status}: {answer.body[:300]!r}")

    def abort_upload_again(self) -> None:
        upload, self.upload = self.upload, None
        answer = self.call("DELETE", upload.key, {"uploadId": upload.id})
        if answer.status not in (204, 404):
            self.fault("unexpected", f"{upload.key}: Abort repeated after the restart answered {answer.status}")
