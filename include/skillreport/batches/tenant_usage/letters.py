"""The e-mail to the tenant's administrator about a nearly used quota."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

from include.skillreport.batches.tenant_usage.warnings import UsageWarning
from include.skillreport.billing.pricing.usage import BYTES_PER_GB
from include.skillreport.core.written_dates import month_in_words
from include.skillreport.messaging.contract_letters import USAGE_WARNING
from include.skillreport.messaging.notices import notice, sending_time
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.templates import Template

_METRICS = {
    "ja": {"storage_bytes": "ストレージ使用量", "api_calls": "API 呼び出し回数"},
    "en": {"storage_bytes": "storage", "api_calls": "API calls"},
}


def usage_letter(
    tenant_id: str, warning: UsageWarning, address: str, templates: Mapping[str, Template], *, run_date: date
) -> MessageDraft:
    """The e-mail for a quota's warning, due at nine on the run's day; one per threshold and month."""
    template = templates[USAGE_WARNING]
    month_end = (warning.window_start + timedelta(days=32)).replace(day=1)
    return notice(
        tenant_id,
        template,
        address,
        {
            "metric": _METRICS[template.language][warning.metric],
            "month": month_in_words(warning.window_start, template.language),
            "threshold": f"{warning.threshold_percent.normalize():f}",
            "percent": f"{warning.observed * 100 / warning.reference:.1f}",
            "observed": _shown(warning.metric, warning.observed),
            "allowance": _shown(warning.metric, warning.reference),
        },
        dedupe_key=(
            f"{USAGE_WARNING}:{warning.metric}:{warning.threshold_percent.normalize():f}:{warning.window_start}"
        ),
        due_at=sending_time(run_date),
        dedupe_until=sending_time(month_end + timedelta(days=31)),
    )


def _shown(metric: str, value: Decimal) -> str:
    return f"{value / BYTES_PER_GB:,.1f} GB" if metric == "storage_bytes" else f"{value:,.0f}"
