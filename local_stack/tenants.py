"""The demo's tenants: a holding company and its group, with each known irregularity of the host's database."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_TENANT_ID = "default-tenant"
"""The id that the host's multi-tenant migration gives to rows of an unknown tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTenant:
    """A row of MST_Tenant, and the size and activity of the tenant."""

    tenant_id: str
    code: str
    name: str
    name_en: str
    domain: str
    plan: str | None = "STANDARD"
    status: str | None = "ACTIVE"
    is_deleted: bool = False
    timezone: str | None = "Asia/Tokyo"
    currency: str | None = "JPY"
    max_users: int | None = 100
    max_storage_gb: int | None = 100
    users: int | None = None
    """People with an account; None takes the number from the data's shape."""
    code_prefix: str = ""
    """Precedes the number in employee codes. Tenants without a prefix share the numbers 000001, 000002 and so on."""
    traffic: float = 1.0
    """The share of all requests, relative to the other tenants; 0 for a tenant without activity."""
    last_day_traffic: float = 1.0
    """Multiplies the requests of the last day."""
    storage_filled: float | None = None
    """The share of max_storage_gb (GiB) that the tenant's files use, 0 to 1; None for the sum of its uploads."""


DEMO_TENANTS = (
    DemoTenant(
        tenant_id=DEFAULT_TENANT_ID,
        code="TKH-HD",
        name="髙橋﨑ホールディングス株式会社",
        name_en="Takahashizaki Holdings Co., Ltd.",
        domain="hd.takahashizaki.example",
        plan="ENTERPRISE",
        max_users=500,
        max_storage_gb=500,
        users=60,
        traffic=3,
    ),
    DemoTenant(  # ten thousand employees
        tenant_id="tenant_1735689600000",
        code="TKH-MFG",
        name="株式会社髙橋﨑製作所",
        name_en="Takahashizaki Manufacturing Co., Ltd.",
        domain="mfg.takahashizaki.example",
        plan="ENTERPRISE",
        status="active",
        max_users=12_000,
        max_storage_gb=2_000,
        users=9_524,
        code_prefix="M",
        traffic=12,
    ),
    DemoTenant(  # storage above 95 % of its quota
        tenant_id="TENANT001",
        code="TKH-SOL",
        name="㈱髙橋﨑ソリューションズ",
        name_en="Takahashizaki Solutions K.K.",
        domain="sol.takahashizaki.example",
        plan="PREMIUM",
        max_storage_gb=20,
        traffic=3,
        storage_filled=0.97,
    ),
    DemoTenant(  # storage between 80 and 95 % of its quota
        tenant_id="TENANT002",
        code="YMZ-LOG",
        name="山﨑物流㈱",
        name_en="Yamazaki Logistics K.K.",
        domain="logi.yamazaki.example",
        max_storage_gb=10,
        traffic=2,
        storage_filled=0.86,
    ),
    DemoTenant(  # created before the host had plans: it has only a name
        tenant_id="tenant_1704067200000",
        code="TKH-DSN",
        name="髙橋﨑デザイン合同会社",
        name_en="Takahashizaki Design LLC",
        domain="design.takahashizaki.example",
        plan=None,
        status=None,
        timezone=None,
        currency=None,
        max_users=None,
        max_storage_gb=None,
    ),
    DemoTenant(  # deleted by its status; is_deleted is still false
        tenant_id="TENANT003",
        code="TKH-OLD",
        name="旧・髙橋﨑商会株式会社",
        name_en="Former Takahashizaki Trading Co., Ltd.",
        domain="old.takahashizaki.example",
        plan="BASIC",
        status="deleted",
        users=8,
        traffic=0,
    ),
    DemoTenant(
        tenant_id="tenant_1790780400000",
        code="TKH-LAB",
        name="髙橋﨑未来研究所株式会社",
        name_en="Takahashizaki Future Lab Co., Ltd.",
        domain="lab.takahashizaki.example",
        plan="FREE",
        status="TRIAL",
        max_users=10,
        max_storage_gb=1,
        users=6,
        traffic=0.5,
    ),
    DemoTenant(
        tenant_id="TENANT004",
        code="TKH-FOOD",
        name="髙橋﨑フーズ㈱",
        name_en="Takahashizaki Foods K.K.",
        domain="foods.takahashizaki.example",
        plan="BASIC",
        status="SUSPENDED",
        users=15,
        traffic=0,
    ),
    DemoTenant(  # soft-deleted; the status is still active
        tenant_id="tenant_1719792000000",
        code="TKH-TMP",
        name="髙橋﨑イベント準備株式会社",
        name_en="Takahashizaki Event Preparation Co., Ltd.",
        domain="event.takahashizaki.example",
        plan="FREE",
        is_deleted=True,
        users=5,
        traffic=0,
    ),
    DemoTenant(  # no employee is entered yet
        tenant_id="tenant_1793372400000",
        code="TKH-NEW",
        name="株式会社髙橋﨑ロジテック",
        name_en="Takahashizaki Logitech Co., Ltd.",
        domain="new.takahashizaki.example",
        plan="BASIC",
        users=0,
        traffic=0,
    ),
    DemoTenant(  # its last day has more than twice its mean; billed in another currency
        tenant_id="tenant_1751328000000",
        code='O\'Hara/../"X"',
        name="オハラ＆髙橋﨑コンサルティング㈱",
        name_en='O\'Hara & Takahashizaki "X" Consulting K.K.',
        domain="ohara.example",
        currency="USD",
        traffic=2,
        last_day_traffic=20,
    ),
    DemoTenant(  # quotas of zero
        tenant_id="TENANT005",
        code="TKH-FND",
        name="公益財団法人髙橋﨑記念財団",
        name_en="Takahashizaki Memorial Foundation",
        domain="foundation.takahashizaki.example",
        plan="PREMIUM",
        max_users=0,
        max_storage_gb=0,
        code_prefix="F-",
    ),
)

PLANS = ("FREE", "BASIC", "STANDARD", "PREMIUM", "ENTERPRISE")


def ordinary_tenant(index: int) -> DemoTenant:
    """An active tenant without irregularities. Every second one has a prefix in its employee codes."""
    return DemoTenant(
        tenant_id=DEFAULT_TENANT_ID if index == 0 else f"TENANT{index:06d}",
        code=f"T{index:06d}",
        name=f"第{index}テスト株式会社",
        name_en=f"Test {index} Co., Ltd.",
        domain=f"t{index:06d}.example",
        plan=PLANS[index % len(PLANS)],
        code_prefix=f"{index:06d}-" if index % 2 else "",
    )
