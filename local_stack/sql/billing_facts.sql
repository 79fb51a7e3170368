-- name: billing_facts
-- Agreements of the demo's tenants in addition to their plan: a plan change in October, discounts, a commitment, a billing
-- address, and a recipient abroad whose invoice is in English.
INSERT INTO batch.plan_change (tenant_id, effective_from, plan, recorded_by)
VALUES
('tenant_1704067200000', '2025-10-01', 'BASIC', 'demo'),
('tenant_1704067200000', '2026-10-11', 'STANDARD', 'demo');

INSERT INTO batch.discount (tenant_id, name, kind, value, currency, metric, valid_from, valid_to)
VALUES
('TENANT001', '長期契約割引', 'percentage', 10, null, null, '2026-04-01', '2027-03-31'),
('TENANT002', '導入支援キャンペーン', 'fixed', 5000, 'JPY', null, '2026-08-01', '2026-10-31'),
('TENANT005', 'ストレージ無料枠の追加', 'free_quantity', 50, null, 'storage_gb', '2026-10-01', null);

INSERT INTO batch.commitment (tenant_id, valid_from, valid_to, amount, currency)
VALUES ('default-tenant', '2026-04-01', '2027-03-31', 400000, 'JPY');

INSERT INTO batch.billing_profile (tenant_id, recipient_name, department, postal_code, address, email)
VALUES
(
    'default-tenant',
    null,
    '管理本部 経理部',
    '530-0001',
    '大阪府大阪市北区梅田1-1-1 髙橋﨑ビル18階',
    'keiri@hd.takahashizaki.example'
),
('tenant_1704067200000', '髙橋﨑デザイン合同会社', null, '604-8004', '京都府京都市中京区三条通1-2-3', null);

INSERT INTO batch.billing_profile (
    tenant_id, recipient_name, department, postal_code, address, email, country, language, currency
)
VALUES
(
    'tenant_1751328000000',
    'O''Hara & Takahashizaki Consulting Ltd.',
    'Accounts Payable',
    'Dublin 2, D02 XY45',
    '12 Merrion Row',
    'ap@ohara.example',
    'IE',
    'en',
    'USD'
);

INSERT INTO batch.exchange_rate (currency, rate_date, yen_per_unit)
VALUES ('USD', '2026-10-30', 151.25);
