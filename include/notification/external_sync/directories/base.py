"""What every directory gives, whichever service is behind it: accounts and channels, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from include.database import storable
from include.errors import BatchError

# Characters; whatever is longer is nobody's.
_LONGEST_ID = 200
_LONGEST_EMAIL = 254
_LONGEST_TEXT = 200


class AccountKind(StrEnum):
    """Who an account belongs to: one of the company's people, somebody from outside, or nobody."""

    MEMBER = "member"
    GUEST = "guest"
    BOT = "bot"


class AccountState(StrEnum):
    """Whether it is used. A DELETED one is only still listed; a PENDING one has never been used."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    PENDING = "pending"
    ON_LEAVE = "on_leave"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its service lists it. ``email`` is in the service's spelling, ``employee_code`` the company's own number."""

    external_id: str
    email: str | None = field(default=None, repr=False)
    is_email_verified: bool = False
    employee_code: str | None = None
    display_name: str | None = field(default=None, repr=False)
    kind: AccountKind = AccountKind.MEMBER
    state: AccountState = AccountState.ACTIVE


@dataclass(frozen=True, slots=True)
class ListedChannel:
    """A channel, a talk room or a group. ``parent_id`` is the team that it belongs to, where there are such."""

    external_id: str
    name: str | None = None
    kind: str = "channel"
    is_archived: bool = False
    parent_id: str | None = None


@dataclass(frozen=True)
class Position:
    """A place in a listing: what is listed, and the service's own mark from which it goes on."""

    step: str
    cursor: str = field(default="", repr=False)


@dataclass(frozen=True)
class Page:
    """One page, which may be empty wherever it is; without ``next`` it is the listing's last.

    ``removed`` are ids of accounts that are gone. ``delta_link`` is where the next listing's changes are read from, on the page that
    says so.
    """

    accounts: Sequence[Account] = ()
    removed: Sequence[str] = ()
    channels: Sequence[ListedChannel] = ()
    next: Position | None = None
    delta_link: str | None = field(default=None, repr=False)


class Directory(Protocol):
    """One tenant's directory at one service.

    ``start`` is where a listing begins: at its first page, or, with marks of an earlier listing, at the changes since. ``beginning`` is
    always the first page.
    """

    start: Position
    beginning: Position

    async def page(self, at: Position) -> Page:
        """Read the page at a position; it is the same one when it is read again.

        :raises ListingError: it cannot be read, and so the listing is not complete.
        :raises StartOverError: the service does not know the position any more.
        """


class ListingError(BatchError):
    """A listing that is not complete, and why, in a sentence without the service's own text; nothing is changed after it."""

    def __init__(self, message: str, *, recoverable: bool = False) -> None:
        super().__init__(message)
        self.recoverable = recoverable


class StartOverError(Exception):
    """The service has forgotten where the listing was; its text says so in a sentence."""


def is_identity(value: str) -> bool:
    """Whether a text can be an id, which goes into our keys and into paths of URLs."""
    # A lone dot or two would be a step in the path.
    is_segment = value.strip(".") != "" and " " not in value
    return is_segment and len(value) <= _LONGEST_ID and value.isascii() and value.isprintable()


def identity(value: object, of: str) -> str:
    """The id of something that is listed. :raises ListingError: it is none."""
    if isinstance(value, str) and is_identity(value):
        return value
    raise ListingError(f"ID の正しくない{of}が一覧にあります")


def one_line(value: object) -> str | None:
    """What people have written, in one line of bounded length; it may hold anything else, HTML and formulas too."""
    if not isinstance(value, str):
        return None
    return " ".join(storable(value).split())[:_LONGEST_TEXT] or None


def address(value: object) -> str | None:
    """An e-mail address, as far as it can be one."""
    cleaned = value.strip() if isinstance(value, str) else ""
    if "@" not in cleaned or len(cleaned) > _LONGEST_EMAIL or " " in cleaned or not cleaned.isprintable():
        return None
    return cleaned


def items(body: Mapping[str, Any], name: str, service: str) -> list[Mapping[str, Any]]:
    """A page's objects. :raises ListingError: there is no list of objects of this name."""
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ListingError(f"{service} の応答に {name} がありません")
    return value


def following(at: Position, cursor: object, then: Position | None) -> Position | None:
    """Where a listing with cursors goes on: its end is an empty, null or missing one. :raises ListingError: it goes in a circle."""
    if not cursor:
        return then
    if not isinstance(cursor, str) or cursor == at.cursor:
        raise ListingError("続きの位置（cursor）が進みません")
    return Position(at.step, cursor)
