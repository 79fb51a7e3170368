"""Pictures of an issuer, and their names in the store."""

from __future__ import annotations

import hashlib
from io import BytesIO

from PIL import Image


def picture(
    colour: str = "navy", size: tuple[int, int] = (60, 20), form: str = "PNG", mode: str = "RGB"
) -> bytes:
    content = BytesIO()
    Image.new("RGB", size, colour).convert(mode).save(content, form)
    return content.getvalue()


def name_of(content: bytes, suffix: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()}.{suffix}"
