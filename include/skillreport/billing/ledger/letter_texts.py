"""The texts of the e-mails about invoices, credit notes, voids and overdue invoices, in the document's language. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

from include.skillreport.billing.documents.invoice import (
    Honorific,
    Invoice,
    InvoiceKind,
    Issuer,
    Language,
    addressed,
)
from include.skillreport.billing.documents.notation import NOTATIONS
from include.skillreport.core.written_dates import month_in_words

PdfDelivery = Literal["attachment", "link", "none"]


@dataclass(frozen=True)
class LetterTexts:
    """An e-mail. With a file, it ends with one of the last two texts, depending on whether the file can be attached.

    These texts contain the signature, so that it comes last.
    """

    subject: str
    body: str
    attached_text: str | None = None
    unattached_text: str | None = None


def document_letter(
    document: Invoice,
    delivery: PdfDelivery,
    link: str,
    *,
    is_original_unsent: bool = False,
    open_amount: Decimal | None = None,
    original_due_on: date | None = None,
) -> LetterTexts:
    """The e-mail about an invoice or a credit note. ``link`` is the setting ``billing.invoice_link``; it may be empty.

    ``is_original_unsent``: the customer received no e-mail about the invoice that the credit note cancels. ``open_amount``:
    the open amount of a corrected invoice, in its currency. ``original_due_on``: the due date of a credit note's invoice (Asia/Tokyo).
    Required if something is left of it.
    """
    texts = _TEXTS[document.language]
    kind = "credit" if document.kind is InvoiceKind.CREDIT else "invoice"
    values = _values(document)
    if document.correction:
        kind = "corrected"
        values |= {
            "corrected": document.correction.text,
            "corrected_on": NOTATIONS[document.language].day(document.correction.corrected_on),
        }
    parts = [_beginning(texts, kind, values)]
    if open_amount not in (None, document.total):
        open_text = NOTATIONS[document.language].money(max(open_amount, Decimal(0)), document.currency)
        # The e-mail waits for a second user, and the customer may pay in the meantime.
        parts.append(texts["left_to_pay"].format(open=open_text, **values))
    if kind == "credit":
        parts.append(_about_original(document, values, original_due_on, is_unsent=is_original_unsent))
    if document.replaces:
        parts.append(
            texts["replaces"].format(
                replaced=document.replaces.number,
                on=NOTATIONS[document.language].day(document.replaces.issued_on),
            )
        )
    return _with_file(document, kind, values, parts, delivery, link)


def void_letter(invoice: Invoice, reason: str) -> LetterTexts:
    """The e-mail about a void invoice that no other invoice has replaced yet."""
    texts = _TEXTS[invoice.language]
    values = _values(invoice) | {"reason": reason}
    body = "\n".join([_beginning(texts, "void", values), texts["signature"].format(**values)])
    return LetterTexts(texts["void_subject"].format(**values), body)


def recipient_letter(
    issuer: Issuer, language: Language, name: str, honorific: Honorific = "御中"
) -> LetterTexts:
    """The e-mail to an address that no longer gets e-mails of the customer ``name``. It does not name the new recipients."""
    texts = _TEXTS[language]
    values = _issuer_values(issuer) | {"recipient": addressed(name, honorific, language)}
    body = "\n".join([_beginning(texts, "recipient", values), texts["signature"].format(**values)])
    return LetterTexts(texts["recipient_subject"].format(**values), body)


def reminder_letter(
    invoice: Invoice, open_amount: Decimal, delivery: PdfDelivery, link: str, *, is_repeated: bool
) -> LetterTexts:
    """The e-mail about an overdue invoice. ``open_amount`` is the open amount, in the invoice's currency.

    ``is_repeated``: an earlier reminder had no effect. The other arguments are as in ``document_letter``.
    """
    texts = _TEXTS[invoice.language]
    kind = "second_reminder" if is_repeated else "reminder"
    values = _values(invoice) | {"open": NOTATIONS[invoice.language].money(open_amount, invoice.currency)}
    return _with_file(invoice, kind, values, [_beginning(texts, kind, values)], delivery, link)


def _beginning(texts: Mapping[str, str], kind: str, values: Mapping[str, str]) -> str:
    return texts["greeting"].format(**values) + texts[f"{kind}_body"].format(**values)


def _about_original(
    credit: Invoice, values: Mapping[str, str], due_on: date | None, *, is_unsent: bool
) -> str:
    texts = _TEXTS[credit.language]
    if not credit.remaining_total:
        return texts["unsent" if is_unsent else "cancelled"].format(**values)
    assert due_on is not None, "an invoice with a credit note is due"
    return texts["still_valid"].format(original_due=NOTATIONS[credit.language].day(due_on), **values)


def _with_file(
    document: Invoice,
    kind: str,
    values: Mapping[str, str],
    parts: Sequence[str],
    delivery: PdfDelivery,
    link: str,
) -> LetterTexts:
    """The e-mail with these parts, and with the text about its PDF.

    E-mails name no bank account, so that recipients do not trust a forgery. They name the document with it.
    """
    texts = _TEXTS[document.language]
    subject, signature = texts[f"{kind}_subject"].format(**values), texts["signature"].format(**values)
    is_payable, is_reminder = kind != "credit", kind.endswith("reminder")
    ending = "\n".join(["" if is_reminder else texts["ending"], signature])
    unattached = (texts["account"] if is_payable else "") + ending
    elsewhere = texts["link" if link else "on_request"].format(link=_link(document, link)) + unattached
    if delivery == "attachment":
        attached = texts["attached"] + (texts["attached_account"] if is_payable else "")
        return LetterTexts(
            subject, "\n".join(parts), attached_text=attached + ending, unattached_text=elsewhere
        )
    about_file = elsewhere if delivery == "link" else texts["on_request"] + unattached
    return LetterTexts(subject, "\n".join([*parts, about_file]))


def _values(document: Invoice) -> dict[str, str]:
    notation = NOTATIONS[document.language]

    def day(date: date | None) -> str:
        return notation.day(date) if date else ""

    return _issuer_values(document.issuer) | {
        "recipient": document.recipient.addressed(document.language),
        "month": month_in_words(document.period_start, document.language),
        "number": str(document.number),
        "total": notation.money(abs(document.total), document.currency),
        "due": day(document.due_on),
        "issued": day(document.issued_on),
        "original": str(document.original_number),
        "original_issued": day(document.original_issued_on),
        "reason": document.reason or "",
        "order": _TEXTS[document.language]["order"].format(number=document.order_number)
        if document.order_number
        else "",
        "credit_note": "適格返還請求書" if document.is_taxable else "返還明細書",
        "remaining": notation.money(document.remaining_total or Decimal(0), document.currency),
    }


def _issuer_values(issuer: Issuer) -> dict[str, str]:
    return {
        "issuer": issuer.name,
        "contact": issuer.contact,
        "issuer_email": issuer.email,
        "issuer_phone": issuer.phone,
    }


def _link(document: Invoice, link: str) -> str:
    return link.replace("{number}", str(document.number)).replace("{tenant_code}", document.tenant_code)


_TEXTS = {
    "ja": {
        "order": "注文番号: {number}\n",
        "invoice_subject": "【{issuer}】{month}分 ご請求書 {number}",
        "greeting": "{recipient}\n\n平素よりお世話になっております。{issuer} {contact}です。\n",
        "invoice_body": "{month}分のご請求書をお送りいたします。\n\n"
        "請求書番号: {number}\n{order}"
        "ご請求金額（税込）: {total}\n"
        "お支払期限: {due}\n",
        "corrected_subject": "【{issuer}】【訂正】{month}分 ご請求書 {number}",
        "corrected_body": "{month}分の請求書（{issued} 発行）を訂正いたしました。番号と金額は変わりません。\n\n"
        "請求書番号: {number}\n{order}"
        "訂正日: {corrected_on}\n"
        "訂正の内容: {corrected}\n"
        "ご請求金額（税込）: {total}\n"
        "お支払期限: {due}\n\n"
        "訂正前の請求書をお持ちの場合は、今後はこの請求書をご利用ください。"
        "お支払いがお済みの場合、あらためてのお支払いは不要です。\n",
        "left_to_pay": "{corrected_on}の時点で、返還やご入金などを差し引いた残額は {open}（税込）です。\n",
        "credit_subject": "【{issuer}】ご返金・値引きのお知らせ（{credit_note} {number}）",
        "credit_body": "{month}分のご請求について、{credit_note}をお送りいたします。\n\n"
        "{credit_note}番号: {number}\n"
        "対象の請求書: {original}（{original_issued} 発行）\n{order}"
        "返還金額（税込）: {total}\n"
        "理由: {reason}\n",
        "still_valid": "請求書 {original} は引き続き有効です。"
        "お支払いがお済みでない場合は、返還後の残額 {remaining}（税込）をお支払いください（お支払期限: {original_due}）。\n",
        "cancelled": "請求書 {original} のお支払いは不要です。"
        "お支払いがお済みの場合は、返還の方法を下記からご連絡します。\n",
        "void_subject": "【{issuer}】請求書 {number} 取消のお知らせ",
        "void_body": "次の請求書を取り消しました。お支払いは不要です。ご迷惑をおかけし、誠に申し訳ございません。\n\n"
        "請求書番号: {number}（{issued} 発行、{month}分）\n{order}"
        "ご請求金額（税込）: {total}\n"
        "理由: {reason}\n",
        "recipient_subject": "【{issuer}】請求書の送付先の変更のお知らせ",
        "recipient_body": "請求書などの送付先が変わりました。このメールアドレスには、今後お送りいたしません。\n"
        "お心当たりがない場合は、下記までお知らせください。\n",
        "reminder_subject": "【{issuer}】お支払いのご確認のお願い 請求書 {number}",
        "reminder_body": "次の請求書のお支払いを、まだ確認できておりません。ご確認のうえ、お支払いくださいますようお願いいたします。\n\n"
        "請求書番号: {number}（{issued} 発行、{month}分）\n{order}"
        "お支払期限: {due}\n"
        "未払額（税込）: {open}\n\n"
        "本メールと行き違いでお支払い済みの場合は、何卒ご容赦ください。\n",
        "second_reminder_subject": "【{issuer}】【再度のお願い】お支払いのご確認 請求書 {number}",
        "second_reminder_body": "先日もご連絡しましたが、次の請求書のお支払いを、まだ確認できておりません。"
        "至急お支払いくださいますようお願いいたします。お支払いの予定日がお決まりでしたら、下記までお知らせください。\n\n"
        "請求書番号: {number}（{issued} 発行、{month}分）\n{order}"
        "お支払期限: {due}\n"
        "未払額（税込）: {open}\n\n"
        "本メールと行き違いでお支払い済みの場合は、何卒ご容赦ください。\n",
        "replaces": "この請求書は、請求書 {replaced}（{on} 発行）に代わるものです。今後はこの請求書をご利用ください。\n",
        "unsent": "なお、請求書 {original} はこの{credit_note}で全額を打ち消したため、お送りしていません。お支払いは不要です。\n",
        "attached": "書類（PDF）を添付しています。\n",
        "attached_account": "振込先は添付の請求書のとおりです。\n",
        "account": "振込先は請求書（PDF）のとおりです。\n",
        "link": "書類（PDF）は次のページで受け取れます。\n{link}\n",
        "on_request": "書類（PDF）が必要な場合は、下記までお問い合わせください。\n",
        "ending": "\nご査収のほどよろしくお願いいたします。\n",
        "signature": "{issuer} {contact}\nお問い合わせ: {issuer_email} / {issuer_phone}\n",
    },
    "en": {
        "order": "Your order number: {number}\n",
        "invoice_subject": "[{issuer}] Invoice {number} for {month}",
        "greeting": "Dear {recipient},\n\n",
        "invoice_body": "We have issued your invoice for {month}.\n\n"
        "Invoice number: {number}\n{order}"
        "Amount due: {total}\n"
        "Due date: {due}\n",
        "corrected_subject": "[{issuer}] Corrected invoice {number} for {month}",
        "corrected_body": "We have corrected your invoice for {month} of {issued}. Its number and its amounts have not changed.\n\n"
        "Invoice number: {number}\n{order}"
        "Corrected on: {corrected_on}\n"
        "Correction: {corrected}\n"
        "Amount due: {total}\n"
        "Due date: {due}\n\n"
        "If you have the invoice from before the correction, please use this one from now on. "
        "If you have already paid, no further payment is due.\n",
        "left_to_pay": "On {corrected_on}, after credits and payments, {open} (incl. tax) was left to pay.\n",
        "credit_subject": "[{issuer}] Credit note {number} for invoice {original}",
        "credit_body": "We have issued a credit note for {month}.\n\n"
        "Credit note number: {number}\n"
        "Original invoice: {original} of {original_issued}\n{order}"
        "Credited amount: {total}\n"
        "Reason: {reason}\n",
        "still_valid": "Invoice {original} remains valid. "
        "If you have not paid it yet, please pay the remaining {remaining} (incl. tax) by its due date, {original_due}.\n",
        "cancelled": "No payment is due for invoice {original}. "
        "If you have already paid it, we will contact you about the refund.\n",
        "void_subject": "[{issuer}] Invoice {number} is cancelled",
        "void_body": "We have cancelled the following invoice. No payment is due. We apologize for the inconvenience.\n\n"
        "Invoice number: {number} of {issued}, for {month}\n{order}"
        "Amount: {total}\n"
        "Reason: {reason}\n",
        "recipient_subject": "[{issuer}] Invoices are now sent to another address",
        "recipient_body": "The address for invoices has changed. We will send no more of them to this address.\n"
        "If you do not know about this change, please contact us.\n",
        "reminder_subject": "[{issuer}] Payment reminder for invoice {number}",
        "reminder_body": "We have not yet received the payment of the following invoice. Please check it and arrange the payment.\n\n"
        "Invoice number: {number} of {issued}, for {month}\n{order}"
        "Due date: {due}\n"
        "Amount outstanding: {open}\n\n"
        "If you have already paid, please disregard this e-mail.\n",
        "second_reminder_subject": "[{issuer}] Second payment reminder for invoice {number}",
        "second_reminder_body": "In spite of our earlier reminder, we have not yet received the payment of the following invoice. "
        "Please pay it now, or let us know when you will pay.\n\n"
        "Invoice number: {number} of {issued}, for {month}\n{order}"
        "Due date: {due}\n"
        "Amount outstanding: {open}\n\n"
        "If you have already paid, please disregard this e-mail.\n",
        "replaces": "This invoice replaces invoice {replaced} of {on}. Please use this one from now on.\n",
        "unsent": "Invoice {original} was not sent to you, because this credit note cancels it in full. No payment is due.\n",
        "attached": "The document (PDF) is attached.\n",
        "attached_account": "Please pay to the bank account on the attached invoice.\n",
        "account": "Please pay to the bank account on the invoice (PDF).\n",
        "link": "The document (PDF) is available here:\n{link}\n",
        "on_request": "Please contact us if you need the document (PDF).\n",
        "ending": "",
        "signature": "{issuer}, {contact}\nQuestions: {issuer_email} / {issuer_phone}\n",
    },
}
