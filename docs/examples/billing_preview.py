"""Prices a tenant's month, and e-mails the amount, or why there is none."""

from datetime import date

from airflow.sdk import dag, task


@dag(schedule=None, params={"tenant": "TKH-DSN", "month": "2026-10-01", "to": "keiri@example.jp"})
def billing_preview() -> None:
    @task
    def send_price(tenant: str, month: str, to: str) -> str:
        from skill_batch.hooks.billing import BillingHook
        from skill_batch.hooks.notification import NotificationHook

        billing = BillingHook()
        tenant_id = billing.tenant_id_of(tenant)
        with billing.transaction(tenant_id) as connection:
            (priced,) = billing.price(connection, date.fromisoformat(month))
        text = f"{priced.total:,f} {priced.currency} です。" if priced.invoice else str(priced.reason)
        subject = f"{month:.7} の請求予定額"
        key = f"billing_preview:{month}:{to}"
        return NotificationHook().send(tenant_id, "email", to, subject, text, dedupe_key=key)

    send_price("{{ params.tenant }}", "{{ params.month }}", "{{ params.to }}")


billing_preview()
