"""The issuer's logo and seal (角印). A run checks them before it issues documents, and keeps them in the object store under their SHA-256.

The name of a kept image, ``<sha256>.png`` or ``.jpg``, is part of a document's content. A document therefore keeps its bytes after the logo
is replaced.
"""

from __future__ import annotations

import hashlib
import warnings
from datetime import date
from io import BytesIO
from pathlib import Path

from PIL import Image
from typst import TypstError

from include.skillreport.billing.documents.invoice import Issuer
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.settings import IssuerSettings
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution import proof
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import Fault, Recorded, Unchecked, UnprovedError, read_proved
from include.skillreport.core.typesetting import compile_pdf

LARGEST_BYTES = 500_000
MOST_PIXELS = 4_000_000

_SUFFIXES = {"PNG": "png", "JPEG": "jpg"}
_TRIAL = Path(__file__).with_name("issuer_image.typ")


def image_key(name: str) -> str:
    """``issuer/images/<sha256>.png``."""
    return f"issuer/images/{name}"


def keep_images(issuer: IssuerSettings, store: ObjectStore) -> dict[str, str]:
    """Keep the present ``logo`` and ``seal`` under their SHA-256. Returns the names of the images that are set.

    :raises SettingsError: names a file that is missing, too large (with the limit), or no PNG or JPEG that a PDF can contain.
    """
    names = {}
    for setting, key in (("logo", issuer.logo), ("seal", issuer.seal)):
        if not key:
            continue
        try:
            content = read_proved(store, key, Unchecked(), LARGEST_BYTES)
            suffix, problem = _checked(content)
        except UnprovedError as error:
            content, suffix, problem = b"", "", _problem_of(error)
        if problem:
            raise SettingsError(f"設定 billing.issuer.{setting} の画像 '{key}' は、{problem}。")
        names[setting] = f"{hashlib.sha256(content).hexdigest()}.{suffix}"
        proof.keep(store, image_key(names[setting]), content)
    return names


def read_images(issuer: Issuer, store: ObjectStore | None) -> dict[str, bytes]:
    """The content of a document's images, by name. :raises BillingError: there is no store, or an image is missing or was changed."""
    images = {}
    for name in filter(None, (issuer.logo, issuer.seal)):
        try:
            images[name] = _kept(name, store)
        except UnprovedError:
            raise BillingError(
                "IMAGE_MISSING",
                f"書類のロゴか印影 '{image_key(name)}' が保存先にないか、内容が違います。保存先のバックアップから戻してください",
            ) from None
    return images


def _kept(name: str, store: ObjectStore | None) -> bytes:
    """The content of a kept image, whose name is its SHA-256. :raises UnprovedError: there is no store, or see ``read_proved``."""
    if store is None:
        raise UnprovedError(image_key(name), Fault.MISSING)
    return read_proved(store, image_key(name), Recorded(Path(name).stem), LARGEST_BYTES)


def _problem_of(error: UnprovedError) -> str:
    if error.fault is Fault.TOO_LARGE:
        return f"{LARGEST_BYTES // 1000:,} KB を超えます。小さくしてください"
    if error.fault is Fault.DENIED:
        return "保存先で読む権限がありません。権限を確かめてください"
    return "保存先にありません。置くか、設定を空にしてください"


def _checked(content: bytes) -> tuple[str, str]:
    """The suffix of an image's name, and the image's problem; empty if there is none."""
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(BytesIO(content), formats=list(_SUFFIXES)) as image,
        ):
            width, height = image.size
            suffix = _SUFFIXES.get(str(image.format), "jpg")
    except Image.DecompressionBombError:
        width, height, suffix = MOST_PIXELS, MOST_PIXELS, ""
    except (OSError, SyntaxError, ValueError):
        return "", "PNG でも JPEG でもありません。どちらかにしてください"
    if width * height > MOST_PIXELS:
        return "", f"{MOST_PIXELS:,} 画素を超えます。小さくしてください"
    try:
        # Only typst knows whether it can decode the image, and whether the archive format allows it.
        compile_pdf(
            _TRIAL, "invoice", "", dated=date(2026, 1, 1), standards="a-2a", images={"image": content}
        )
    except TypstError:
        return "", "PDF に使えません（壊れているか、CMYK など）。RGB か白黒の画像にしてください"
    return suffix, ""
