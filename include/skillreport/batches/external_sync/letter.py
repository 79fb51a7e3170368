"""The e-mail to a tenant's administrator about notification settings whose channels are gone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from include.skillreport.batches.external_sync.listing import ListedDirectory
from include.skillreport.batches.external_sync.plan import EntryKind, PlanEntry
from include.skillreport.messaging.contract_letters import CHANNELS_GONE
from include.skillreport.messaging.notices import notice, sending_time
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.reminder_names import titles_of
from include.skillreport.messaging.templates import Template


def gone_letter(
    unit: ListedDirectory, entries: Sequence[PlanEntry], template: Template, address: str
) -> MessageDraft:
    """One e-mail about these settings, due at nine on the run's day. If all still have a destination, later runs do not repeat it."""
    is_changed = any(entry.kind is EntryKind.DISABLE_SETTING for entry in entries)
    occasion = hashlib.sha256(repr([(entry.kind, entry.reason) for entry in entries]).encode()).hexdigest()
    titles = titles_of((entry.before or {})["setting_key"] for entry in entries)
    lines = [_line(entry, titles, template.language) for entry in entries]
    return notice(
        unit.tenant_id,
        template,
        address,
        {"service": unit.provider.service, "count": len(lines), "findings": "\n".join(lines)},
        dedupe_key=":".join(
            [CHANNELS_GONE, unit.provider, *([unit.execution_id] if is_changed else []), occasion[:12]]
        ),
        due_at=sending_time(unit.run_date),
    )


def _line(entry: PlanEntry, titles: Mapping[str, Mapping[str, str]], language: str) -> str:
    texts, before = _TEXTS[language], entry.before or {}
    channels = texts["listed"].join(before["channels"])
    return texts[entry.kind].format(setting=titles[before["setting_key"]][language], channels=channels)


_TEXTS: dict[str, dict[str, str]] = {
    "ja": {
        "listed": "、",
        EntryKind.DISABLE_SETTING: "・通知設定「{setting}」の宛先「{channels}」。ほかに宛先がないため、この通知設定を無効にしました。",
        EntryKind.SETTING_AFFECTED: "・通知設定「{setting}」の宛先「{channels}」。ほかの宛先への通知は続けます。",
    },
    "en": {
        "listed": ", ",
        EntryKind.DISABLE_SETTING: "- {channels}, in the notification setting “{setting}”. It has no other destination, so we have "
        "disabled it.",
        EntryKind.SETTING_AFFECTED: "- {channels}, in the notification setting “{setting}”. Its other destinations still get messages.",
    },
}
