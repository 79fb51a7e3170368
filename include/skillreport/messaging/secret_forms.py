"""The spellings of a secret that can appear in a log. The masker of the logs finds literal texts only."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

# Characters. A shorter part of a URL is a word, such as a version or an action, and stays readable in the logs.
_SHORTEST_URL_PART = 20


def forms_of(secret: str) -> set[str]:
    """The secret as it is, quoted as in a URL and in a form, and escaped as in JSON and in a repr.

    A URL is also secret without its scheme and host, and so are its long path segments and query values, because a client may log only a
    part of it. A key of several lines is not sent in a URL, so only its escaped form is added.
    """
    secret = secret.strip()
    escaped = json.dumps(secret, ensure_ascii=False)[1:-1]
    if "\n" in secret:
        return {secret, escaped}
    parts = _parts_of_url(secret) if secret.lower().startswith(("https://", "http://")) else ()
    forms = {form for part in (secret, *parts) for form in _quoted(part)}
    return {form for form in forms | {escaped} if form}


def login_forms_of(login: str, password: str) -> set[str]:
    """A login and its password in Base64: for HTTP Basic, for SMTP AUTH PLAIN, and the password for AUTH LOGIN."""
    if not password:
        return set()
    texts = (f"{login}:{password}", f"\0{login}\0{password}", password)
    return {b64encode(text.encode()).decode() for text in texts}


def _quoted(text: str) -> Iterator[str]:
    yield from (text, unquote(text), quote(text), quote(text, safe=""), quote_plus(text))


def _parts_of_url(url: str) -> Iterator[str]:
    try:
        split = urlsplit(url)
    except ValueError:
        return
    whole = split.path + (f"?{split.query}" if split.query else "")
    values = [value for pair in split.query.split("&") for value in (pair.partition("=")[2],)]
    decoded = [value for _, value in parse_qsl(split.query)]
    for part in (whole, split.query, *split.path.split("/"), *values, *decoded):
        if len(part) >= _SHORTEST_URL_PART:
            yield part
