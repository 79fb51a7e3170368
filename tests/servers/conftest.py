"""Servers of Debian's packages. ``make test-servers`` fails where they are not installed, and says what to install."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import TypeAlias
from urllib.parse import urlsplit

import pytest

from tests.conftest import Server
from tests.servers.debian_server import debian_server

DebianServers: TypeAlias = Callable[[int], Server]


@pytest.fixture(scope="session")
def debian_servers() -> Iterator[DebianServers]:
    """By major version, a server that runs until the session ends. It has no roles of the batches."""
    with ExitStack() as stack:

        @cache
        def server(major: int) -> Server:
            url = stack.enter_context(debian_server(major))
            return Server(url, "127.0.0.1", urlsplit(url).port or 0)

        yield server
