"""BATCH-018-02 テナント課金計算."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.batches.tenant_billing.batch import TenantBillingBatch
    from include.skillreport.billing.service import OffersBilling


def create_batch(installation: OffersBilling) -> TenantBillingBatch:
    """The batch with the billing of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.batches.tenant_billing.batch import TenantBillingBatch

    return TenantBillingBatch(installation.billing().check_terms())
