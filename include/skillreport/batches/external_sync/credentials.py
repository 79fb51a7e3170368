"""The credentials for a tenant's directories: its rows of SYS_IntegrationConfig, which are also used to send messages.

==========  ===========================================================  =======================================
provider    auth_config                                                  connection_config
==========  ===========================================================  =======================================
slack       ``bot_token``                                                ``base_url`` (only for stand-ins)
teams       ``tenant_id``, ``client_id``, ``client_secret`` of an        ``graph_auth_url``, ``graph_base_url``
            application in Microsoft Entra ID                            (only for stand-ins)
line_works  ``client_id``, ``client_secret``, ``service_account``,       ``bot_id``, ``domain_id``; ``auth_url``,
            ``private_key``                                              ``base_url`` (only for stand-ins)
==========  ===========================================================  =======================================

``"directory_sync": false`` in connection_config turns the sync of a directory off; messages are still sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from include.skillreport.messaging.integrations import config_of, first_text, json_object
from include.skillreport.messaging.message import LineWorksConfig, SlackConfig
from include.skillreport.messaging.outcome import Channel

PROVIDERS = (Channel.SLACK, Channel.TEAMS, Channel.LINE_WORKS)


@dataclass(frozen=True)
class GraphConfig:
    """The tenant's own application, registered in Microsoft Entra ID; ``directory_id`` is Microsoft's id of the tenant."""

    directory_id: str
    client_id: str
    client_secret: str = field(repr=False)
    auth_url: str = "https://login.microsoftonline.com/"
    base_url: str = "https://graph.microsoft.com/v1.0/"


DirectoryConfig = SlackConfig | GraphConfig | LineWorksConfig


def directory_config_of(provider: Channel, row: Mapping[str, Any]) -> DirectoryConfig | str:
    """A row's credentials for the directory, or a sentence that says why there are none."""
    auth = json_object(row["auth_config"]) or {}
    connection = json_object(row["connection_config"]) or {}
    if connection.get("directory_sync") is False:
        return "設定（directory_sync）により対象外です"
    config = _graph_config(auth, connection) if provider is Channel.TEAMS else config_of(provider, row)
    match config:
        case SlackConfig(token=token) if token:
            return config
        case GraphConfig() | LineWorksConfig():
            return config
    needed = {
        Channel.SLACK: "bot_token",
        Channel.TEAMS: "tenant_id、client_id、client_secret",
        Channel.LINE_WORKS: "bot_id、client_id、client_secret、service_account、private_key",
    }
    return f"名簿を読む認証情報（{needed[provider]}）がないため対象外です"


def _graph_config(auth: Mapping[str, Any], connection: Mapping[str, Any]) -> GraphConfig | None:
    needed = [first_text(auth, name) for name in ("tenant_id", "client_id", "client_secret")]
    urls = {
        name: value for name in ("auth_url", "base_url") if (value := first_text(connection, f"graph_{name}"))
    }
    return GraphConfig(*needed, **urls) if all(needed) else None
