"""The services' directories, with one interface (``Directory``)."""

from __future__ import annotations

from collections.abc import Collection

import aiohttp

from include.skillreport.batches.external_sync.credentials import DirectoryConfig, GraphConfig
from include.skillreport.batches.external_sync.directories.base import Directory
from include.skillreport.batches.external_sync.directories.calls import Patience
from include.skillreport.batches.external_sync.directories.graph import GraphDirectory
from include.skillreport.batches.external_sync.directories.line_works import LineWorksDirectory
from include.skillreport.batches.external_sync.directories.slack import SlackDirectory
from include.skillreport.messaging.message import SlackConfig

__all__ = ["Directory", "Patience", "open_directory"]


def open_directory(
    config: DirectoryConfig,
    session: aiohttp.ClientSession,
    allowed_hosts: Collection[str],
    patience: Patience,
    *,
    delta_link: str = "",
    rooms: Collection[str] = (),
) -> Directory:
    """The directory for a tenant's credentials; this makes no call. ``session`` is from ``guarded_session`` with these ``allowed_hosts``.

    ``delta_link`` is where an earlier listing ended (Teams), ``rooms`` the talk rooms to ask for (LINE WORKS).
    :raises ListingError: the address is not allowed.
    """
    match config:
        case SlackConfig():
            return SlackDirectory(config, session, allowed_hosts, patience)
        case GraphConfig():
            return GraphDirectory(config, session, allowed_hosts, patience, delta_link)
        case _:
            return LineWorksDirectory(config, session, allowed_hosts, patience, rooms)
