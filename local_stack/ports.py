"""The ports of the local stack on 127.0.0.1. One setting moves all of them, so that two checkouts can run at the same time."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from include.skillreport.core.errors import BatchError

# Added to every port. `make up PORT_OFFSET=1000` sets it. Each folder stores its last value.
PORT_OFFSET = "SKILL_BATCH_PORT_OFFSET"

UI_PORT = 8080

# Browsers open no page on a "bad port" of the Fetch standard. It is the only one that the largest offset can reach from 8080.
_BLOCKED_BY_BROWSERS = 10_080

# All ports stay below those that Linux gives to outgoing connections (net.ipv4.ip_local_port_range). Nothing can listen on the port of
# a connection for a minute after its end, and a busy machine has many of them.
FIRST_OUTGOING_PORT = 32_768

# The highest port of airflow_settings.yaml is 25480.
LARGEST_OFFSET = 7_000


@dataclass(frozen=True)
class Ports:
    """The port of each service."""

    database: int
    http: int
    smtp: int
    imap: int
    ui: int

    @property
    def of_stand_ins(self) -> Mapping[str, int]:
        """The ports of the stand-ins, by the service that they replace."""
        return {
            "the stand-ins of Slack, Teams and LINE WORKS (HTTP)": self.http,
            "the stand-in of the mail server (SMTP)": self.smtp,
            "the stand-in of the mailbox (IMAP)": self.imap,
        }


def read_offset(remembered: Path) -> int:
    """The offset of the environment, otherwise the stored offset of the file, otherwise 0.

    :raises BatchError: the environment variable is no offset.
    """
    text = os.environ.get(PORT_OFFSET, "").strip()
    if not text and remembered.exists():
        text = remembered.read_text().strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST_OFFSET):
        raise BatchError(f"{PORT_OFFSET} is {text!r}, but it must be a number from 0 to {LARGEST_OFFSET}.")
    return int(text)


def require_openable(ui: int) -> None:
    """:raises BatchError: browsers refuse to open a page on this port. The message names an offset that works."""
    if ui == _BLOCKED_BY_BROWSERS:
        offset = ui - UI_PORT
        raise BatchError(
            f"PORT_OFFSET={offset} puts Airflow's UI on port {ui}, which browsers block. "
            f"Choose another offset: make up PORT_OFFSET={offset + 100} (or {PORT_OFFSET}={offset + 100})."
        )


def require_free(ports: Mapping[str, int]) -> None:
    """:raises BatchError: another program listens on one of these ports. The message names the port, its use and the setting."""
    for use, port in ports.items():
        if problem := port_problem(port):
            raise BatchError(
                f"Port {port} on 127.0.0.1, needed by {use}, cannot be used: {problem}. "
                "End that program (if it is the stack of another checkout: `make down` there), "
                f"or move all ports of this checkout: make up PORT_OFFSET=1000 (or {PORT_OFFSET}=1000)."
            )


def port_problem(port: int) -> str | None:
    """Why no server can listen on 127.0.0.1:port now; None if one can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return None
        except OverflowError:
            return "ports go from 1 to 65535"
        except PermissionError:
            return "only root may listen there"
        except OSError as error:
            return f"another program may be listening there ({error.strerror})"


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
