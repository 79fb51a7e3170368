"""Find the tenants whose rows make a step fail, so that all others go on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from include.skillreport.core.errors import is_about_data
from include.skillreport.core.execution.blockers import LockedError

# After this many failed calls in a row beyond those that lead to one tenant, the fault is not a tenant's. A damaged page may hold rows of
# several tenants.
_MORE_LOCKED, _MORE_DAMAGED = 2, 16

# SQLSTATEs of damaged pages and indexes.
_DAMAGED = ("XX001", "XX002")


@dataclass
class Isolated:
    """``errors`` are the broken tenants. ``locked`` are groups of tenants whose rows another session holds: single ones, or all that are
    left if only the table is common to them.
    """

    errors: dict[str, Exception] = field(default_factory=dict)
    locked: list[list[str]] = field(default_factory=list)


def isolate(tenant_ids: Sequence[str], step: Callable[[Sequence[str]], object]) -> Isolated:
    """Call ``step`` on all tenants. After an error that one tenant's rows can cause, call it on each half, down to single tenants.

    One broken tenant among n costs about 2·log2(n) calls instead of n.
    :raises Exception: an error that concerns all tenants, such as a damaged table that each call reads.
    """
    search = _Search(step, math.ceil(math.log2(len(tenant_ids) or 1)) + 1)
    try:
        search.call(list(tenant_ids))
    except _TableLockedError:
        handled = search.done.union(search.found.errors)
        search.found.locked = [[each for each in tenant_ids if each not in handled]]
    return search.found


class _TableLockedError(Exception):
    """Tenants are locked that have nothing in common."""


class _Search:
    def __init__(self, step: Callable[[Sequence[str]], object], to_one_tenant: int) -> None:
        self._step, self._to_one_tenant = step, to_one_tenant
        # Calls that failed in a row.
        self._failures = 0
        self.done = set[str]()
        self.found = Isolated()

    def call(self, tenant_ids: list[str]) -> None:
        if not tenant_ids:
            return
        try:
            self._step(tenant_ids)
        except Exception as error:
            is_locked = isinstance(error, LockedError)
            if not is_locked and not is_about_data(error):
                raise
            self._failures += 1
            further = self._failures - self._to_one_tenant
            if is_locked and further > _MORE_LOCKED:
                raise _TableLockedError from error
            if getattr(error, "sqlstate", None) in _DAMAGED and further > _MORE_DAMAGED:
                raise
            if len(tenant_ids) > 1:
                middle = len(tenant_ids) // 2
                self.call(tenant_ids[:middle])
                self.call(tenant_ids[middle:])
            elif is_locked:
                self.found.locked.append(tenant_ids)
            else:
                self.found.errors[tenant_ids[0]] = error
        else:
            self._failures = 0
            self.done.update(tenant_ids)
