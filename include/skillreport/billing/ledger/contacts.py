"""The recipients of the e-mails about a tenant's documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from include.skillreport.billing.ledger.letter_texts import PdfDelivery
from include.skillreport.core.database import Statements
from include.skillreport.messaging.channels.email.letter import is_address, one_line
from include.skillreport.messaging.suppression import masked

_SQL = Statements(Path(__file__).parents[1])


@dataclass(frozen=True)
class BillingContact:
    """The present recipient of a tenant's e-mails, and how the PDF is delivered; None: by the installation's setting.

    ``further`` recipients (To) and ``cc`` recipients get a copy of each e-mail.
    """

    email: str | None
    pdf_delivery: PdfDelivery | None
    further: Sequence[str] = ()
    cc: Sequence[str] = ()

    @property
    def problem(self) -> str | None:
        """A warning for operators if no e-mail can be sent, or None."""
        if not self.email:
            return (
                "請求先のメールアドレスがないため、通知していません。"
                "DAG operate_contracts の「請求先の変更」かアプリの連絡先に登録し、書類は別の方法で送ってください"
            )
        if not is_address(self.email):
            return (
                f"請求先のメールアドレス '{self.email}' が正しくないため、通知していません。"
                "DAG operate_contracts の「請求先の変更」かアプリの連絡先を直し、書類は別の方法で送ってください"
            )
        return None

    @property
    def remark(self) -> str | None:
        """A warning if no e-mail or copy is sent to an invalid address, or None."""
        # All viewers of the batch see the warning, so it masks the addresses.
        wrong = "、".join(
            f"'{masked(one_line(each))}'" for each in (*self.further, *self.cc) if not is_address(each)
        )
        if self.problem or not wrong:
            return self.problem
        return (
            f"請求先の追加のメールアドレス {wrong} が正しくないため、ほかの宛先だけに通知します。"
            "DAG operate_contracts の「請求先の変更」で直してください"
        )

    @property
    def recipients(self) -> list[tuple[str, str]]:
        """The header (``to`` or ``cc``) and address of each recipient, without duplicates; ``email`` comes first."""
        headers = {"to": [str(self.email), *self.further], "cc": self.cc}
        found: dict[str, tuple[str, str]] = {}
        for kind, address in ((kind, each) for kind, addresses in headers.items() for each in addresses):
            if is_address(address):
                found.setdefault(address.lower(), (kind, address))
        return list(found.values())


def load_contacts(connection: psycopg.Connection) -> dict[str, BillingContact]:
    """The contacts of the transaction's tenants, by tenant id."""
    return {
        row["tenant_id"]: BillingContact(
            row["email"], row["pdf_delivery"], row["further_emails"], row["cc_emails"]
        )
        for row in _SQL.rows(connection, "load_contacts")
    }
