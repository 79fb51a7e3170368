"""Time that passes only while the code under test sleeps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from types import ModuleType, SimpleNamespace
from typing import Self

import pytest

START = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)


class _TakesAllDatetimes(type):
    """Of a class of datetimes that every datetime is an instance of."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class VirtualTime:
    """The clock of one module: ``now`` is in seconds since ``START``. ``pauses`` are the sleeps that the module asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def replace_clock(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        """Give the module this clock and this sleep. All other modules keep the real ones."""
        clock = self

        class VirtualDatetime(datetime, metaclass=_TakesAllDatetimes):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Self:
                return cls.fromtimestamp((START + timedelta(seconds=clock.now)).timestamp(), tz)

        replacements = {
            "asyncio": SimpleNamespace(**{**vars(asyncio), "sleep": self._sleep}),
            "time": SimpleNamespace(monotonic=lambda: self.now),
            "datetime": VirtualDatetime,
        }
        for name in replacements.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, replacements[name])

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        wakes_at = self.now + seconds
        # Tasks that go to sleep at the same moment all do so before the clock moves.
        await asyncio.sleep(0)
        self.now = max(self.now, wakes_at)
