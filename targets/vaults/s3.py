"""A vault in a bucket of an S3 service. An object is there whole or not at all: S3 itself sees to that."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jobs.failure import FailureKind
from targets.errors import TargetError
from targets.ports import FileKind, FileRef, RepositoryAddress, StoredFile, unnoticed
from targets.secret import Secret
from targets.vaults.layout import CONFIG, PIECE, path_of, plain_name, ref_at

if TYPE_CHECKING:  # boto3 takes a fifth of a second to import: only who connects pays for it
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_CONNECT_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 60
_SERVER_FAILED: Final = 500
_HINT: Final = " (the service's own log says why; is its disk full?)"
_ATTEMPTS: Final = 3  # of one request; whole jobs are retried by jobs.retry

# A pack of restic's usual size (16 MiB and a bit) goes in one request; what is longer, in parts of this length, because
# some services want all parts alike. Bounds our memory.
_PART: Final = 24 * PIECE

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; statuses for answers without a body.
_KIND_OF_CODE: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        "NoSuchBucket": FailureKind.BUCKET_MISSING,
        "NoSuchKey": FailureKind.REPOSITORY_MISSING,
        "InvalidAccessKeyId": FailureKind.ACCESS_DENIED,
        "SignatureDoesNotMatch": FailureKind.ACCESS_DENIED,
        "QuotaExceeded": FailureKind.DISK_FULL,
        "XMinioStorageFull": FailureKind.DISK_FULL,
    }
)
_KIND_OF_STATUS: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        401: FailureKind.ACCESS_DENIED,
        403: FailureKind.ACCESS_DENIED,
        404: FailureKind.REPOSITORY_MISSING,
        507: FailureKind.DISK_FULL,
    }
)


@dataclass(frozen=True, slots=True)
class S3Vault:
    """Repositories in a bucket, below `prefix` (may be empty). Buckets are named in the path, not in the host's name.

    `endpoint` starts with http:// or https://. The limits are bytes a second.
    """

    name: str
    endpoint: str
    bucket: str
    prefix: str
    region: str
    access_key: Secret
    secret_key: Secret
    limit_upload: int | None = None
    limit_download: int | None = None

    def address(self, tenant: str) -> RepositoryAddress:
        """How restic reaches the tenant's repository. Beware: restic's `init` creates a bucket that is missing."""
        path = f"{self.bucket}/{self.key_prefix(tenant)}".rstrip("/")
        return RepositoryAddress(
            label=f"{tenant}@{self.name}",
            url=Secret(f"s3:{self.endpoint.rstrip('/')}/{path}"),
            environment=MappingProxyType(
                {
                    "AWS_ACCESS_KEY_ID": self.access_key,
                    "AWS_SECRET_ACCESS_KEY": self.secret_key,
                    "AWS_DEFAULT_REGION": Secret(self.region),
                }
            ),
            options=("s3.bucket-lookup=path",),
            limit_upload=self.limit_upload,
            limit_download=self.limit_download,
        )

    def store(self, tenant: str) -> S3Store:
        """The files of the tenant's repository; connects on first use."""
        return S3Store(self, tenant)

    def key_prefix(self, tenant: str) -> str:
        """What the keys of the tenant's files begin with, ending in a slash."""
        return "/".join(part for part in (self.prefix.strip("/"), plain_name(tenant), "") if part) + "/"


class S3Store:
    """The files of one repository in a bucket. Threads may share it."""

    def __init__(self, vault: S3Vault, tenant: str) -> None:
        self._vault = vault
        self._prefix = vault.key_prefix(tenant)
        self._connected: S3Client | None = None

    def files(self, kind: FileKind, stray: Callable[[str], None] = unnoticed) -> Iterator[StoredFile]:
        """See targets.ports.Store."""
        folder = self._prefix + (CONFIG.name if kind is FileKind.CONFIG else f"{kind.value}/")
        with self._told("list", folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._vault.bucket, Prefix=folder)
            for page in pages:
                for entry in page.get("Contents", ()):
                    ref = ref_at(entry["Key"].removeprefix(self._prefix))
                    if ref is not None:
                        yield StoredFile(ref, entry["Size"])
                    elif kind is not FileKind.CONFIG:  # there the prefix finds whatever begins like it
                        stray(entry["Key"].rpartition("/")[2])

    def size(self, ref: FileRef) -> int | None:
        """See targets.ports.Store."""
        key = self._key(ref)
        try:
            with self._told("look at", key):
                return self._client.head_object(Bucket=self._vault.bucket, Key=key)["ContentLength"]
        except TargetError as error:
            if error.kind is not FailureKind.REPOSITORY_MISSING:
                raise
        self._require_bucket()
        return None

    def read(self, ref: FileRef) -> Iterator[bytes]:
        """See targets.ports.Store."""
        key = self._key(ref)
        with self._told("read", key):
            body = self._client.get_object(Bucket=self._vault.bucket, Key=key)["Body"]
            with closing(body):
                yield from body.iter_chunks(PIECE)

    def write(self, ref: FileRef, pieces: Iterable[bytes]) -> None:
        """See targets.ports.Store."""
        key = self._key(ref)
        upload = _Upload(self._client, self._vault.bucket, key)
        try:
            for part in _parts_of(pieces):
                with self._told("write", key):
                    upload.add(part)
                del part  # else the next one is made beside it: twice the memory
            with self._told("write", key):
                upload.finish()
        except BaseException:
            with suppress(TargetError), self._told("give up", key):
                upload.abort()
            raise

    def delete(self, ref: FileRef) -> None:
        """See targets.ports.Store."""
        key = self._key(ref)
        with self._told("delete", key):
            self._client.delete_object(Bucket=self._vault.bucket, Key=key)

    def free(self) -> int | None:
        """See targets.ports.Store. S3 knows no such thing."""
        return None

    def is_bare(self) -> bool | None:
        """See targets.ports.Store. A bucket is no mount point."""
        return None

    def clock(self, fresh: FileRef) -> datetime | None:
        """See targets.ports.Store."""
        key = self._key(fresh)
        with self._told("look at", key):
            return self._client.head_object(Bucket=self._vault.bucket, Key=key)["LastModified"]

    def close(self) -> None:
        """See targets.ports.Store."""
        client, self._connected = self._connected, None
        if client is not None:
            client.close()

    @property
    def _client(self) -> S3Client:
        if self._connected is None:
            self._connected = _connect(self._vault)
        return self._connected

    def _key(self, ref: FileRef) -> str:
        return self._prefix + path_of(ref)

    def _require_bucket(self) -> None:
        """Raise TargetError(BUCKET_MISSING) when it is so; HEAD of an object does not tell the two apart."""
        from botocore.exceptions import ClientError

        with self._told("open", f"bucket {self._vault.bucket}"):
            try:
                self._client.head_bucket(Bucket=self._vault.bucket)
            except ClientError as error:
                if _status_of(error) == 404:
                    message = f"the bucket {self._vault.bucket} is not there"
                    raise self._error("open", FailureKind.BUCKET_MISSING, message) from error
                if _status_of(error) != 403:  # allowed to read objects, not to look at the bucket
                    raise

    def _error(self, operation: str, kind: FailureKind, message: str) -> TargetError:
        return TargetError(operation, f"vault {self._vault.name}", kind, message)

    @contextmanager
    def _told(self, operation: str, what: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            hint = _HINT if _status_of(error) >= _SERVER_FAILED else ""
            raise self._error(operation, _kind_of(error), f"{what}: {_words_of(error)}{hint}") from error
        except BotoCoreError as error:
            raise self._error(operation, FailureKind.VAULT_UNREACHABLE, f"{what}: {error}") from error


class _Upload:
    """One object on its way: in one request when it is shorter than a part, else part after part.

    Sent by one thread: the caller knows better how many files wait to be sent at once.
    """

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._id: str | None = None
        self._done: list[CompletedPartTypeDef] = []

    def add(self, part: bytes) -> None:
        """Send the next part; a shorter one is the last."""
        if self._id is None and len(part) < _PART:
            self._client.put_object(Bucket=self._bucket, Key=self._key, Body=part)
        elif part:
            self._id = self._id or self._begun()
            number = len(self._done) + 1
            answer = self._client.upload_part(
                Bucket=self._bucket, Key=self._key, UploadId=self._id, PartNumber=number, Body=part
            )
            self._done.append({"ETag": answer["ETag"], "PartNumber": number})

    def finish(self) -> None:
        """Make the parts one object."""
        if self._id is not None:
            self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=self._id, MultipartUpload={"Parts": self._done}
            )

    def abort(self) -> None:
        """Have the service forget the parts."""
        if self._id is not None:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._id)

    def _begun(self) -> str:
        return self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)["UploadId"]


def _parts_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut into parts of equal length; only the last is shorter, and it may be empty."""
    part = io.BytesIO()
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[part.write(rest[: _PART - part.tell()]) :]
            if part.tell() == _PART:
                yield part.getvalue()
                part = io.BytesIO()
    yield part.getvalue()


def _connect(vault: S3Vault) -> S3Client:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_ANSWER_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        s3={"addressing_style": "path"},
        # Other services than Amazon's refuse the newer checksums; the signature covers the content's SHA-256 anyway.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=vault.endpoint,
        region_name=vault.region,
        aws_access_key_id=vault.access_key.reveal(),
        aws_secret_access_key=vault.secret_key.reveal(),
        config=config,
    )


def _status_of(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _words_of(error: ClientError) -> str:
    told = error.response["Error"]
    return f"{told.get('Code', '')}: {told.get('Message', '')}".strip(": ") or f"HTTP status {_status_of(error)}"


def _kind_of(error: ClientError) -> FailureKind:
    if "no space left" in _words_of(error).lower():
        return FailureKind.DISK_FULL
    by_status = _KIND_OF_STATUS.get(_status_of(error), FailureKind.VAULT_UNREACHABLE)
    return _KIND_OF_CODE.get(error.response["Error"].get("Code", ""), by_status)
