"""Debian's Chromium with the fonts of the product, for the browser tests and the pictures of the pages."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from local_stack.stack import PROJECT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_FONTS = f"""\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{PROJECT / "include" / "skillreport" / "core" / "fonts"}</dir>
</fontconfig>
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium. The machine may have no Japanese font, with which every Japanese character would be an empty box."""
    with tempfile.TemporaryDirectory(prefix="fonts-") as folder, sync_playwright() as playwright:
        configuration = Path(folder, "fonts.conf")
        configuration.write_text(_FONTS, encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox"],
            env={**os.environ, "FONTCONFIG_FILE": str(configuration)},
        )
        try:
            yield browser
        finally:
            browser.close()
