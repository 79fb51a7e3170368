"""The content of an invoice. PDF, JSON and CSV show the same content. Finalising makes it immutable.

Amounts are Decimal in the invoice's currency with its minor units, and strings in JSON. Dates are Asia/Tokyo.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from include.skillreport.billing.pricing.consumption_tax import TaxCategory, TaxTotal


class Document(BaseModel):
    """Base of the values that are stored with an invoice."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def is_default(value: Any) -> bool:
    """True if an optional field has its default. JSON then omits it, so that documents from before the field existed keep their bytes."""
    return value in (None, "ja", ())


Language = Literal["ja", "en"]
Honorific = Literal["御中", "様", ""]

# By the column honorific of batch.billing_profile.
HONORIFICS: Mapping[str | None, Honorific] = {
    None: "御中",
    "onchu": "御中",
    "sama": "様",
    "none": "",
}


class InvoiceKind(StrEnum):
    """適格請求書, or 適格返還請求書 (a credit note for one invoice or a part of it)."""

    INVOICE = "invoice"
    CREDIT = "credit"


class LineKind(StrEnum):
    """The step of the calculation that created a line, in the order of the steps."""

    BASE_FEE = "base_fee"
    USAGE = "usage"
    PERCENTAGE_DISCOUNT = "percentage_discount"
    FIXED_DISCOUNT = "fixed_discount"
    COMMITMENT = "commitment"
    EXTRA = "extra"


# The name of an image of the issuer: its SHA-256 and its format.
ImageName = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\.(png|jpg)$")]


class Issuer(Document):
    """The issuer of the invoice. ``logo`` and ``seal`` (角印) are names of kept images (``issuer_images``)."""

    name: str
    registration_number: str
    postal_code: str
    address: str
    phone: str
    email: str
    bank_account: str
    contact: str
    logo: Annotated[ImageName | None, Field(exclude_if=is_default)] = None
    seal: Annotated[ImageName | None, Field(exclude_if=is_default)] = None


def addressed(name: str, honorific: Honorific, language: Language) -> str:
    """A customer's name as a salutation, in Japanese with the honorific."""
    return f"{name} {honorific}".rstrip() if language == "ja" else name


class Recipient(Document):
    """The invoice's recipient, as the document shows it. The law requires only the name. ``country`` (ISO 3166-1 alpha-2): None is Japan.

    There is no e-mail address, because the invoice remains when the tenant's data are deleted.
    """

    name: str
    department: str | None
    postal_code: str | None
    address: str | None
    country: Annotated[str | None, Field(exclude_if=is_default)] = None
    honorific: Annotated[Honorific, Field(exclude_if=lambda value: value == "御中")] = "御中"

    def addressed(self, language: Language) -> str:
        """The name as a salutation, in Japanese with the honorific."""
        return addressed(self.name, self.honorific, language)


class InvoiceLine(Document):
    """One line. ``amount`` is ``exact_amount`` (at most 30 decimals), rounded once. Readers see and add ``amount``.

    ``quantity`` is the charged quantity, without free quantities, in ``unit``. ``explanation`` has the calculation's steps in the invoice's
    language. ``credited_position`` is the original's line that a credit note's line credits.
    """

    position: int
    kind: LineKind
    description: str
    plan: str | None
    metric: str | None
    quantity: Decimal | None
    unit: str | None
    unit_amount: Decimal | None
    exact_amount: Decimal
    amount: Decimal
    tax_category: TaxCategory
    service_from: date
    service_to: date
    explanation: tuple[str, ...]
    credited_position: Annotated[int | None, Field(exclude_if=is_default)] = None


class YenTax(Document):
    """The tax in yen of an invoice in another currency. The law requires it."""

    yen_per_unit: Decimal
    rate_date: date
    totals: tuple[TaxTotal, ...]


class DocumentReference(Document):
    """A reference in a text to another document of the tenant."""

    number: str
    issued_on: date


class Correction(Document):
    """A later revision (from 2 on) of a document: the day and the subject of the correction."""

    revision: int
    corrected_on: date
    text: str


class Invoice(Document):
    """An invoice or a credit note. A draft has no number, issue date or due date.

    ``replaces`` is the void or credited invoice of the same month that this one replaces. A credit note has a ``reason``, and its invoice's
    ``original_number`` and ``original_issued_on``. ``remaining_total`` is the invoice's total, tax included, less this and the earlier
    credit notes.

    ``subtotal`` is the sum of the lines' rounded amounts. With ``tax_included`` it includes the tax, otherwise the tax is added.
    ``remarks`` name the missing records, in the invoice's language. Without remarks, JSON omits the key, so that older invoices keep their
    bytes. ``note`` is for the recipient. A corrected document has a ``correction``. ``order_number`` is the customer's (注文番号) on the
    last day of the month.
    """

    kind: InvoiceKind
    number: str | None
    original_number: str | None
    issued_on: date | None
    due_on: date | None
    period_start: date
    period_end: date
    tenant_id: str
    tenant_code: str
    currency: str
    tax_included: bool
    issuer: Issuer
    recipient: Recipient
    lines: tuple[InvoiceLine, ...]
    tax_totals: tuple[TaxTotal, ...]
    yen_tax: YenTax | None
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    remarks: Annotated[tuple[str, ...], Field(exclude_if=is_default)] = ()
    language: Annotated[Language, Field(exclude_if=is_default)] = "ja"
    replaces: Annotated[DocumentReference | None, Field(exclude_if=is_default)] = None
    original_issued_on: Annotated[date | None, Field(exclude_if=is_default)] = None
    reason: Annotated[str | None, Field(exclude_if=is_default)] = None
    remaining_total: Annotated[Decimal | None, Field(exclude_if=is_default)] = None
    note: Annotated[str | None, Field(exclude_if=is_default)] = None
    correction: Annotated[Correction | None, Field(exclude_if=is_default)] = None
    order_number: Annotated[str | None, Field(exclude_if=is_default)] = None

    @property
    def revision(self) -> int:
        """The revision of the document: 1, or its correction's."""
        return self.correction.revision if self.correction else 1

    @property
    def is_taxable(self) -> bool:
        """True if a part is taxed. Only then is a credit note a 適格返還請求書."""
        return any(total.rate_percent for total in self.tax_totals)

    @property
    def file_name(self) -> str:
        """The name of its files without the format: ``INV-2026-10-001``, or ``INV-2026-10-001-r2`` for revision 2."""
        return f"{self.number}{revision_suffix(self.revision)}"

    def with_images(self, images: Mapping[str, str | None]) -> Self:
        """The invoice with these names as its issuer's ``logo`` and ``seal``."""
        return self.model_copy(update={"issuer": self.issuer.model_copy(update=dict(images))})

    def finalized(self, number: str | None, issued_on: date | None, due_on: date | None) -> Self:
        """The invoice with the values that finalising adds. A credit note has no due date."""
        return self.model_copy(update={"number": number, "issued_on": issued_on, "due_on": due_on})


def document_key(invoice: Invoice, format_name: str) -> str:
    """The key of a numbered document's file in the object store."""
    return file_key(invoice.period_start, str(invoice.number), invoice.revision, format_name)


def file_key(period_start: date, number: str, revision: int, format_name: str) -> str:
    """``invoices/2026-10/INV-2026-10-001.pdf``, and ``INV-2026-10-001-r2.pdf`` for revision 2."""
    return f"invoices/{period_start:%Y-%m}/{number}{revision_suffix(revision)}.{format_name}"


def revision_suffix(revision: int) -> str:
    """The end of file names and e-mail ids of a later revision: ``-r2``."""
    return f"-r{revision}" if revision > 1 else ""
