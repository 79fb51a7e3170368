"""Reads the bodies of requests. All routes with a body get it here: after the check of a right, and within limits of size and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated
from weakref import WeakValueDictionary

from fastapi import Depends, Request, status
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect

from skill_batch.board.access import Rights, RightsDep, http_error
from skill_batch.board.at_once import SLOT, Slot

# The bodies of one user that are read at the same time.
_MOST_UNREAD = 2


@dataclass(frozen=True)
class Limits:
    """The limits of a body. ``too_large`` is the reason for rejecting a larger one; it may contain the megabytes as ``{size}``.
    ``seconds`` include the wait for the user's other bodies.
    """

    too_large: str
    bytes: int
    seconds: float
    files: int
    fields: int


# A thousand task instances in a form take about 100 kB.
_DIALOG = Limits("入力が大きすぎます", bytes=300_000, seconds=20.0, files=0, fields=3_000)


class UnreadBodies:
    """The bodies that are being read, by user."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def turn(self, person: str) -> asyncio.Semaphore:
        """The user's turns. Further bodies of the user wait."""
        return self._turns.setdefault(person, asyncio.Semaphore(_MOST_UNREAD))


async def read_form(request: Request, rights: Rights, limits: Limits) -> FormData:
    """The fields of the body. Meanwhile, the request has no slot.

    :raises HTTPException: 411 without a length, 413 for a body that is too large, 408 for one that does not arrive in time, 400 if the
        client hangs up. :raises RuntimeError: the route has not checked a right.
    """
    if not rights.is_granted:
        raise RuntimeError("A route checks the user's right before it reads the body")
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise http_error(status.HTTP_411_LENGTH_REQUIRED, "入力の長さがありません")
    if int(length) > limits.bytes:
        raise http_error(status.HTTP_413_CONTENT_TOO_LARGE, limits.too_large, size=limits.bytes // 10**6)
    slot: Slot = request.scope[SLOT]
    unread: UnreadBodies = request.app.state.unread_bodies
    async with slot.given_back():
        try:
            async with asyncio.timeout(limits.seconds), unread.turn(rights.name):
                return await request.form(max_files=limits.files, max_fields=limits.fields)
        except TimeoutError:
            late = http_error(
                status.HTTP_408_REQUEST_TIMEOUT, "入力が時間内に届きませんでした。もう一度送ってください"
            )
            late.headers = {"Connection": "close"}
            raise late from None
        except ClientDisconnect:
            raise http_error(
                status.HTTP_400_BAD_REQUEST, "入力の途中で接続が切れました。もう一度送ってください"
            ) from None


async def _form(request: Request, rights: RightsDep) -> FormData:
    return await read_form(request, rights, _DIALOG)


# The fields of a dialog. In the route's signature, a parameter that checks a right stands before it.
FormDep = Annotated[FormData, Depends(_form)]
