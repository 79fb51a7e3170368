"""Add, end, correct, import and export the contract data that invoices depend on beside the price list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.billing.service import OffersBilling
    from include.skillreport.operations.operate_contracts.batch import ContractOperations


def create_batch(installation: OffersBilling) -> ContractOperations:
    """The operations with the billing of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.operations.operate_contracts.batch import ContractOperations

    return ContractOperations(installation.billing().check_terms())
