"""The e-mail to a tenant's administrator about new findings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date

from include.skillreport.messaging.contract_letters import SETTINGS_BROKEN
from include.skillreport.messaging.notices import notice, sending_time
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.templates import Template


def settings_letter(
    tenant_id: str,
    findings: Sequence[tuple[str, str, str]],
    template: Template,
    address: str,
    *,
    execution_id: str,
    run_date: date,
) -> MessageDraft:
    """One e-mail about all these findings (subject, detail and English of ``SettingFinding``), due at nine on the run's day."""
    told = sorted(findings)
    digest = hashlib.sha256(repr(told).encode()).hexdigest()[:12]
    lines = [
        f"- {english}" if template.language == "en" else f"・{subject}: {detail}。"
        for subject, detail, english in told
    ]
    return notice(
        tenant_id,
        template,
        address,
        {"count": len(lines), "findings": "\n".join(lines)},
        dedupe_key=f"{SETTINGS_BROKEN}:{execution_id}:{digest}",
        due_at=sending_time(run_date),
    )
