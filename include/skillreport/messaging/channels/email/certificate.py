"""A mail server's certificate that the client rejects: its subject and its end, for the operator who must replace it."""

from __future__ import annotations

import ssl

from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.business_date import JAPAN


class CertificateRefusedError(BatchError):
    """The server's certificate cannot be verified: it has expired, has another name, or has no trusted issuer.

    The text contains OpenSSL's reason and, if known, the subject and the end of the certificate.
    """


def verification_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The failed verification behind an error of a connection; None: another error."""
    for each in (error, error.__cause__):
        if isinstance(each, ssl.SSLCertVerificationError):
            return each
    return None


def described(certificate: bytes, *, with_subject: bool) -> str:
    """The subject and the end (Asia/Tokyo) of a certificate (DER)."""
    from cryptography import x509  # it takes long to load, and is rarely needed

    try:
        loaded = x509.load_der_x509_certificate(certificate)
        subject = f"{loaded.subject.rfc4514_string()}、" if with_subject else ""
    except ValueError:
        return "証明書を読めません"
    return f"{subject}有効期限 {loaded.not_valid_after_utc.astimezone(JAPAN):%Y-%m-%d %H:%M}"
