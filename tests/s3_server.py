"""An S3 server on a socket (moto's), which refuses requests on demand.

A test that starts none does not wait for moto and Amazon's client: their imports take a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from upath import UPath

from tests.serving import serving

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BUCKET = "skill-report"
_KEY, _SECRET, _REGION = "test-key", "test-secret", "ap-northeast-1"
_REFUSAL = "<?xml version='1.0'?><Error><Code>{}</Code><Message>Access Denied</Message></Error>"


def nothing(environ: WSGIEnvironment) -> bool:  # noqa: ARG001
    """Refuse nothing."""
    return False


@dataclass
class S3Server:
    """The server, with one bucket.

    ``refuses`` returns for a request (WSGI) whether it is refused. ``refusal`` has the status and the error code of the answer.
    """

    app: Any
    refuses: Callable[[WSGIEnvironment], bool] = nothing
    refusal: tuple[str, str] = ("403 Forbidden", "AccessDenied")
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        if self.refuses(environ):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, code = self.refusal
            start_response(status, [("Content-Type", "application/xml")])
            return [_REFUSAL.format(code).encode()]
        return cast("Iterable[bytes]", self.app(environ, start_response))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def client(self) -> Any:
        """Amazon's own client, to look from outside."""
        import boto3  # type: ignore[import-untyped]

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_SECRET,
            region_name=_REGION,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Where Amazon's own tools look."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": _REGION,
        }

    @property
    def airflow_connection(self) -> str:
        """The value of AIRFLOW_CONN_... for the server."""
        return json.dumps(
            {
                "conn_type": "aws",
                "login": _KEY,
                "password": _SECRET,
                "extra": {"endpoint_url": self.url, "region_name": _REGION},
            }
        )

    def path(self, folder: str, bucket: str = BUCKET) -> Path:
        """A folder in a bucket, without Airflow."""
        return cast(
            "Path",
            UPath(f"s3://{bucket}/{folder}", endpoint_url=self.url, key=_KEY, secret=_SECRET),
        )

    def names(self, folder: str = "") -> list[str]:
        """The names in the bucket below the folder."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=folder)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def copy(self, source: Path, target: Path) -> None:
        """Copy a folder of the bucket, as ``path`` names it."""
        old, new = (f"{path}/".removeprefix(f"s3://{BUCKET}/") for path in (source, target))
        for key in self.names(old):
            self.client.copy_object(
                Bucket=BUCKET, Key=new + key.removeprefix(old), CopySource={"Bucket": BUCKET, "Key": key}
            )

    def unfinished_uploads(self) -> int:
        return len(self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server with an empty bucket."""
    from moto.backends import get_backend
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = S3Server(DomainDispatcherApplication(create_backend_app))
    listener = make_server("127.0.0.1", 0, server, threaded=True)
    server.port = listener.server_port
    with serving(listener):
        try:
            server.client.create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": _REGION}
            )
            yield server
        finally:
            # moto's data belong to the process, not to the server.
            for backend in get_backend("s3").values():
                for account in backend.values():
                    account.reset()
