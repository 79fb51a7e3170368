"""The digest of a run for the operators. Pure: problems in, lines out. The most urgent problems come first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from include.skillreport.batches.settings_sync.rules import shown
from include.skillreport.batches.settings_sync.validation import ProblemSeverity, SettingProblem
from include.skillreport.core.execution.digest import listed, one_line

SEVERITY_NAMES = {
    ProblemSeverity.LOW: "低",
    ProblemSeverity.MEDIUM: "中",
    ProblemSeverity.HIGH: "高",
    ProblemSeverity.CRITICAL: "重大",
}

# The maximum number of listed problems per tenant. The others are counted.
_LISTED_OF_TENANT = 3


@dataclass(frozen=True)
class TenantProblems:
    """The new problems of a tenant's settings (at least one), with the tenant's code and name."""

    tenant_code: str
    tenant_name: str
    problems: Sequence[SettingProblem]

    @property
    def worst_first(self) -> list[SettingProblem]:
        return sorted(self.problems, key=lambda problem: (-problem.severity, problem.key, problem.text))


def digest_lines(business_date: date, tenants: Sequence[TenantProblems]) -> list[str]:
    """The title, the tenants with their new problems, and the actions; empty without problems."""
    if not tenants:
        return []
    counts = Counter(problem.severity for tenant in tenants for problem in tenant.problems)
    figures = "、".join(f"{SEVERITY_NAMES[each]} {counts[each]}" for each in sorted(counts, reverse=True))
    ranked = sorted(
        tenants, key=lambda tenant: (-tenant.worst_first[0].severity, tenant.tenant_code, tenant.tenant_name)
    )
    return [
        f"テナント設定の問題（{business_date:%Y-%m-%d}）: 新規 {figures}（{len(tenants)} テナント）",
        *listed(ranked, _described, "ほか {} テナント"),
        *_actions(tenants),
    ]


def is_critical(tenants: Sequence[TenantProblems]) -> bool:
    """True if a problem is critical."""
    return any(
        problem.severity is ProblemSeverity.CRITICAL for tenant in tenants for problem in tenant.problems
    )


def sentence(problem: SettingProblem) -> str:
    """A problem in one line."""
    place = f"{shown(problem.key)}: " if problem.key else ""
    return f"【{SEVERITY_NAMES[problem.severity]}】{place}{problem.text}"


def _described(tenant: TenantProblems) -> str:
    # Shortened, so that other tenants remain visible.
    name = shown(one_line(f"{tenant.tenant_code} {tenant.tenant_name}"))
    problems = listed(tenant.worst_first, sentence, "ほか {} 件", _LISTED_OF_TENANT)
    return f"・{name}: {'、'.join(problems)}"


def _actions(tenants: Sequence[TenantProblems]) -> Iterator[str]:
    keys = {problem.key for tenant in tenants for problem in tenant.problems}
    if keys - {""}:
        yield (
            "→ 設定: テナントの設定の値か規則を直してください。"
            "利用者が変えたシステム管理の設定は、その人に意図を確かめて元に戻してください"
        )
    if "" in keys:
        yield "→ プラン: MST_Tenant の subscription_plan を直すか、plan_settings.yaml にプランを加えてください"
    yield "→ 全件は batch.tenant_outcome の details（seriousProblems）にあります。同じ問題は直るまで再び知らせません"
