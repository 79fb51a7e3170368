"""New links: the employee of each account. Pure.

Source: BATCH-019-03's rules. The account's former link comes first, then the employee code, then an e-mail address that is verified and
unique on both sides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from include.skillreport.batches.external_sync.plan import (
    AccountLink,
    Employee,
    EntryKind,
    PlanEntry,
    PlanInputs,
)
from include.skillreport.messaging.channels.directory import Account, AccountKind, AccountState

# Only accounts in these states are linked.
_LINKABLE = (AccountState.ACTIVE, AccountState.ON_LEAVE)

_BY_CODE, _BY_EMAIL = "社員番号", "メールアドレス"
_MATCHED_BY = {_BY_CODE: "employee_code", _BY_EMAIL: "email"}


def new_links(
    world: PlanInputs, present: Sequence[Account], active: Sequence[AccountLink], problems: list[str]
) -> Iterator[PlanEntry]:
    """New links: former links, then matches by employee code, then by e-mail. Adds ambiguous matches to ``problems``."""
    linked = {link.employee_id: link.external_id for link in active}
    linked_accounts = {link.external_id for link in active}
    former = {link.external_id: link for link in world.links if not link.is_active}
    matches = _Matches(present, world.employees)
    free = [
        account
        for account in sorted(present, key=lambda account: account.external_id)
        if account.kind is AccountKind.MEMBER
        and account.state in _LINKABLE
        and account.external_id not in linked_accounts
        and account.external_id not in world.contradictory
    ]
    found: list[tuple[int, Account, str, str]] = []
    for account in free:
        link = former.get(account.external_id)
        rank, how, candidates = (0, "link", [link.employee_id]) if link else matches.of(account)
        if len(candidates) > 1:
            problems.append(
                f"アカウント {account.external_id} は連携しません: {how}が同じ社員かアカウントが複数あります"
                f"（社員 {'、'.join(sorted(set(candidates)))}）"
            )
        elif candidates:
            found.append((rank, account, how, candidates[0]))
    for _, account, how, employee_id in sorted(found, key=lambda match: (match[0], match[1].external_id)):
        link = former.get(account.external_id)
        if link and employee_id not in matches.employees:
            problems.append(
                f"アカウント {account.external_id} は連携しません: 以前の連携先の社員 {employee_id} は退職しています"
            )
        elif other := linked.get(employee_id):
            problems.append(
                f"アカウント {account.external_id} は連携しません: 社員 {employee_id} はアカウント {other} と連携済みです"
            )
        else:
            linked[employee_id] = account.external_id
            yield PlanEntry(
                EntryKind.RELINK if link else EntryKind.LINK,
                account.external_id,
                "名簿に戻りました" if link else f"{how}が一致しました",
                employee_id,
                before={"status": "inactive"} if link else None,
                after={"status": "active"} if link else {"matched_by": _MATCHED_BY[how]},
            )


class _Matches:
    """Finds the employees that an account can belong to. An account with several candidates is not linked."""

    def __init__(self, present: Sequence[Account], employees: Sequence[Employee]) -> None:
        self.employees = {employee.employee_id for employee in employees}
        self._by_code: defaultdict[str, list[str]] = defaultdict(list)
        self._by_email: defaultdict[str, list[str]] = defaultdict(list)
        for employee in employees:
            self._by_code[employee.employee_code].append(employee.employee_id)
            if employee.email:
                self._by_email[employee.email.lower()].append(employee.employee_id)
        # A guest with the same address makes the match ambiguous too.
        human = [account for account in present if account.kind is not AccountKind.BOT]
        self._codes = Counter(account.employee_code for account in human)
        self._emails = Counter((account.email or "").lower() for account in human)

    def of(self, account: Account) -> tuple[int, str, list[str]]:
        """The rank of the match (lower is better), its key, and the candidates' employee ids."""
        if account.employee_code and (found := self._by_code.get(account.employee_code)):
            return 1, _BY_CODE, found * self._codes[account.employee_code]
        if account.email and account.is_email_verified:
            email = account.email.lower()
            return 2, _BY_EMAIL, self._by_email.get(email, []) * self._emails[email]
        return 3, "", []
