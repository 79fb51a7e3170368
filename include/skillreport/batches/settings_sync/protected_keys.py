"""Settings that are never written and never shown: security, authentication, passwords, billing, payment.

The plans' file decides which keys are written, and its loader uses this module. A key of the host must equal a key of the file exactly.
Protection is strict: a harmless key that contains one of these words by chance is not written either.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

# Matched anywhere in a key, without separators and case.
_FRAGMENTS = """
    secur secret credential token crypt cipher firewall whitelist allowlist blocklist ipaddress iprange privatekey accesskey apikey
    signingkey sshkey hmac salt permission privilege rbac
    auth login logon signin signon session lockout saml oidc ldap jwt sso mfa 2fa otp twofactor twostep multifactor fido captcha
    password passwd passphrase passcode passkey passwrd pword pswd pwd
    bill invoic pay charg card credit debit tax bank iban swift stripe price pricing refund discount subscript
    セキュリティ 認証 認可 権限 暗号 秘密 機密 資格情報 トークン パスワード 暗証 ログイン 多要素 二段階 二要素
    請求 課金 支払 決済 料金 価格 税 カード 銀行 口座 振込 返金 割引
"""

# Matched as whole words only, because they are short.
_WORDS = "pw psw pass pin sec vat fee fees cvv cvc key keys acl tls ssl csrf cors"

# Digits and signs that look like letters; a 1 can be an i or an l.
_LOOKALIKES = [str.maketrans("0134578@$!|", letters) for letters in ("oieastbasii", "oleastbasll")]

# Characters. Decomposing accents takes quadratic time.
_LONGEST_KEY = 200

_JAPANESE = ("HIRAGANA", "KATAKANA", "CJK", "IDEOGRAPHIC")


def squeezed(key: str) -> str:
    """The key without differences of spelling: width, case, accents, separators, invisible characters."""
    return "".join(letter for letter in _plain(key).casefold() if letter.isalnum())


@lru_cache(maxsize=4096)
def is_protected(key: str) -> bool:
    """True if the key or category, in any spelling, is about a subject that this batch must not write.

    Letters of other scripts (for example Cyrillic) count as protected, because they can look like Latin letters. So do texts longer than
    any key.
    """
    if len(key) > _LONGEST_KEY:
        return True
    plain = _plain(key)
    if any(letter.isalpha() and not _is_expected(letter) for letter in plain.casefold()):
        return True
    letters = squeezed(key)
    readings = [letters, *(squeezed(plain.translate(lookalikes)) for lookalikes in _LOOKALIKES)]
    if any(fragment in reading for fragment in _PLAIN_FRAGMENTS for reading in readings):
        return True
    return not _PROTECTED_WORDS.isdisjoint(_words(plain))


def _plain(text: str) -> str:
    # Compatibility forms first (full width, half-width katakana), then accents and voicing marks are removed.
    decomposed = unicodedata.normalize("NFKD", text[:_LONGEST_KEY])
    return "".join(letter for letter in decomposed if unicodedata.category(letter) not in ("Mn", "Cf"))


def _words(plain: str) -> Iterable[str]:
    spaced = re.sub("([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", plain)
    return re.findall("[a-z]+", spaced.casefold())


def _is_expected(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith(_JAPANESE)


_PLAIN_FRAGMENTS = tuple(squeezed(fragment) for fragment in _FRAGMENTS.split())
_PROTECTED_WORDS = frozenset(_WORDS.split())
