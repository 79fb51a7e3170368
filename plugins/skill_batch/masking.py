"""Masks many secrets in the logs at once.

For each new secret, Airflow's masker compiles one pattern of all its secrets, in the task and in its supervisor. 2,000 secrets of 200
characters take minutes one by one, but a second in one call. The only public way to add several at once is the setting ``[logging]
secret_mask_adapter``: a function that returns further texts to mask. With ``skill_batch.masking.parts``, all secrets go to the masker
in one text. Otherwise they are masked one by one.

Airflow imports this module while it starts, so it imports Airflow only in functions.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

log = logging.getLogger(__name__)

ADAPTER = "skill_batch.masking.parts"

# A secret that contains it is masked on its own.
_SEPARATOR = "\x1e"

# This many secrets of 200 characters take five seconds one by one.
_MANY = 200


def mask_all(secrets: Collection[str]) -> None:
    """Mask these secrets in the logs of this task and its supervisor."""
    from airflow.sdk import conf
    from airflow.sdk.log import mask_secret

    if not secrets:
        return
    if conf.get("logging", "secret_mask_adapter", fallback="") == ADAPTER:
        mask_secret(_SEPARATOR.join(secrets))
        return
    if len(secrets) > _MANY:
        log.warning(
            "%s secrets are masked one by one, which is slow. Set AIRFLOW__LOGGING__SECRET_MASK_ADAPTER to %s",
            len(secrets),
            ADAPTER,
        )
    for secret in secrets:
        mask_secret(secret)


def parts(secret: str) -> list[str]:
    """The secrets in a text of ``mask_all``; empty for any other secret. Airflow calls this for each secret."""
    return secret.split(_SEPARATOR) if _SEPARATOR in secret else []
