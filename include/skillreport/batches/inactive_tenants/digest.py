"""The digest of a run for the operators. Pure: rows in, lines out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from include.skillreport.batches.inactive_tenants.rules import Stage
from include.skillreport.core.execution.digest import listed, one_line

STAGE_NAMES = {Stage.NONE: "なし", Stage.ATTENTION: "注意", Stage.WARNING: "警告", Stage.CRITICAL: "重大"}


# The operators' action for a tenant in a new stage.
_ACTIONS = {
    Stage.CRITICAL: "営業担当へ契約を続けるか確認",
    Stage.WARNING: "営業担当へ利用状況の確認を依頼",
    Stage.ATTENTION: "対応は不要です",
}


@dataclass(frozen=True)
class InactiveTenant:
    """A tenant with a stage. ``is_new``: the stage is unreported."""

    tenant_code: str
    tenant_name: str
    stage: Stage
    days: int
    last_activity_on: date | None
    is_new: bool


def digest_lines(as_of: date, tenants: Sequence[InactiveTenant]) -> list[str]:
    """The numbers of inactive tenants as of the day (Asia/Tokyo), the tenants with an unreported stage, worst first, and the actions.

    Reported stages are only counted.
    """
    counts = Counter(tenant.stage for tenant in tenants)
    stages = [stage for stage in reversed(Stage) if stage is not Stage.NONE]
    figures = "、".join(f"{STAGE_NAMES[stage]} {counts[stage]}" for stage in stages)
    new = sorted((tenant for tenant in tenants if tenant.is_new), key=_worst_first)
    return [
        f"非アクティブテナント（{as_of:%Y-%m-%d}）: {figures}、うち新規 {len(new)}",
        *listed(new, _described, "ほか {} テナント"),
        *(
            f"→ {STAGE_NAMES[stage]}: {_ACTIONS[stage]}"
            for stage in stages
            if any(each.stage is stage for each in new)
        ),
    ]


def leaving_lines(waits: Sequence[tuple[str, date]], gone: Sequence[str]) -> list[str]:
    """The reminders of leaving tenants.

    ``waits``: codes, and the first day (Asia/Tokyo) on which the deletion can be approved. ``gone``: the ids of deleted tenants that no
    backup contains any more.
    """
    lines = []
    if waits:
        lines += [
            "退会したテナントの待機が終わります。取りやめなければ、DAG offboard_tenant で削除の承認を依頼してください",
            *listed(
                waits,
                lambda each: f"・{one_line(each[0])}: {each[1]:%Y-%m-%d} から依頼できます",
                "ほか {} テナント",
            ),
        ]
    if gone:
        lines += [
            "削除したテナントを含むバックアップがなくなりました。DAG offboard_tenant の「証明書の追補」で証明書を作ってください",
            *listed(gone, lambda each: f"・テナント ID {one_line(each)}", "ほか {} テナント"),
        ]
    return lines


def last_activity_text(last_activity_on: date | None) -> str:
    return f"最終利用 {last_activity_on:%Y-%m-%d}" if last_activity_on else "利用実績なし"


def _worst_first(tenant: InactiveTenant) -> tuple[int, int, str]:
    return -tenant.stage.rank, -tenant.days, tenant.tenant_code


def _described(tenant: InactiveTenant) -> str:
    name = one_line(f"{tenant.tenant_code} {tenant.tenant_name}")
    activity = last_activity_text(tenant.last_activity_on)
    return f"・【{STAGE_NAMES[tenant.stage]}】{name}: {tenant.days} 日（{activity}）"
