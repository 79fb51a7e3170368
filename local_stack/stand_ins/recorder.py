"""The messages that the stand-ins have received."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Headers with secrets, which must not be in a file or on a page.
_SECRET_HEADERS = frozenset({"authorization"})


@dataclass(frozen=True)
class Arrived:
    """One message as its service received it.

    ``destination`` is the email address, the Slack channel, the workflow's id, or ``users/ID`` and ``channels/ID``. ``rich`` is the HTML,
    the blocks or the card. ``options`` are the other fields of a Slack message. ``files`` are attachments, without their content.
    """

    channel: str
    destination: str
    text: str
    subject: str = ""
    rich: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[Mapping[str, Any]] = ()
    arrived_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """The message as JSON, for the page and the file."""
        return {**asdict(self), "arrived_at": self.arrived_at.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Arrived:
        """The message from the result of ``as_json``."""
        return cls(**{**value, "arrived_at": datetime.fromisoformat(value["arrived_at"])})


class MessageLog:
    """A thread-safe list of messages, and optionally a file of JSON lines. Messages of an existing file come first."""

    def __init__(self, file: Path | None = None) -> None:
        self._messages = _read(file) if file and file.exists() else []
        self._file = file
        self._lock = threading.Lock()

    def add(self, message: Arrived) -> None:
        """Record one message."""
        with self._lock:
            self._messages.append(message)
            if self._file:
                with self._file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(message.as_json(), ensure_ascii=False) + "\n")

    @property
    def messages(self) -> list[Arrived]:
        """All messages, oldest first."""
        with self._lock:
            return list(self._messages)


def _read(file: Path) -> list[Arrived]:
    """The messages of the file. An unfinished line of a killed process is removed."""
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        file.write_bytes(whole)
    return [Arrived.from_json(json.loads(line)) for line in whole.splitlines()]


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers without secrets."""
    return {name: str(value) for name, value in headers.items() if name.lower() not in _SECRET_HEADERS}
