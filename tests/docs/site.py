"""Build the site of the documentation into ``.local/site`` (``make docs``): static pages that load nothing from another host.

README's section "Documentation" is the only list of pages: the navigation and the start page are made from it. The build works on a copy
of ``docs/`` with all generated blocks and the measured results. Scripts inside pages become files, because the board's
Content-Security-Policy permits only files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.airflow_installation import PROJECT
from tests.docs.generated_blocks import DOCS, generated

README = PROJECT / "README.md"
MEASURED = PROJECT / "benchmarks" / "README.md"
SITE = PROJECT / ".local" / "site"

_COPY = PROJECT / ".local" / "site-pages"
_SCRIPTS = "assets/javascripts"

_SECTION = re.compile(r"^## Documentation\n(.*?)^## ", re.MULTILINE | re.DOTALL)
_PAGE = re.compile(r"\[([^\]]+)\]\((docs/[^)#]+\.md|benchmarks/README\.md)\)")
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_JAPANESE = re.compile("[\u3041-\u30ff\u4e00-\u9fff]")
# A browser shows a line break between Japanese letters as a blank.
_BREAK = re.compile(
    r"(?<=[\u3001-\u30ff\u4e00-\u9fff\uff00-\uffef])\n *(?=[\u3001-\u30ff\u4e00-\u9fff\uff00-\uffef])"
)
# What a page would load from another host.
_FOREIGN = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^>]*>")


def listed_pages() -> dict[str, list[tuple[str, Path]]]:
    """The title and the file of each page by the heading of its list in README."""
    found = _SECTION.search(README.read_text(encoding="utf-8"))
    assert found, "README has no section Documentation"
    _, *parts = re.split(r"^### (.+)\n", found[1], flags=re.MULTILINE)
    return {
        heading: [(title.replace("`", ""), PROJECT / path) for title, path in _PAGE.findall(text)]
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


def build() -> None:
    """Build the site. :raises SystemExit: a link is broken, or a page would load something from another host."""
    shutil.rmtree(_COPY, ignore_errors=True)
    shutil.copytree(DOCS, _COPY / "docs", ignore=shutil.ignore_patterns("templates.json"))
    for page in [*DOCS.rglob("*.md"), MEASURED, README]:
        place_of(page).write_text(text_of(page, page), encoding="utf-8")
    # Below the folder of plugins, Airflow could load a Python file, and mypy would check it.
    for program in _COPY.rglob("*.py"):
        program.rename(program.with_suffix(".py.txt"))
    settings = (PROJECT / "zensical.toml").read_text(encoding="utf-8")
    settings = settings.replace("[project]\n", f"[project]\nnav = {_navigation()}\n", 1)
    (_COPY / "zensical.toml").write_text(settings, encoding="utf-8")
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run([str(zensical), "build", "--strict"], cwd=_COPY, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    _publish(_COPY / "site")


def place_of(file: Path) -> Path:
    """The place of a file in the copy of ``docs/``."""
    special = {README: "index.md", MEASURED: "measured.md"}
    return _COPY / "docs" / (special[file] if file in special else file.relative_to(DOCS))


def text_of(file: Path, page: Path) -> str:
    """The text of a page of the site. ``file`` has its text in the repository."""
    text = file.read_text(encoding="utf-8")
    if page == README:
        section = _SECTION.search(text)
        assert section
        text = f"{text.partition('## Try it')[0]}## Documentation\n{section[1]}"
    text = _DIAGRAM.sub(lambda found: _arrows(found[1]), generated(text, page))
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    text = "".join(part if index % 2 else _BREAK.sub("", part) for index, part in enumerate(parts))
    return _LINK.sub(lambda link: _moved(link[1], page), text)


def _moved(link: str, page: Path) -> str:
    """A relative link from the page's place in the site; links that lead out of the site stay, and fail the build."""
    target = Path(os.path.normpath(page.parent / link))
    if target != MEASURED and not target.is_relative_to(DOCS):
        return link
    moved = Path(os.path.relpath(place_of(target), place_of(page).parent)).as_posix()
    return f"{moved}.txt" if target.suffix == ".py" else moved


def _arrows(diagram: str) -> str:
    """A diagram of Mermaid as a list of its arrows. Mermaid itself is a script of 3 MB from another host."""
    names = dict(re.findall(r"(\w+)[\[({]+\"?([^\"\])}]+)\"?[\])}]+", diagram))
    lines = []
    for line in diagram.splitlines():
        plain = re.sub(r"(?<=\w)[\[({]+\"?[^\"\])}]+\"?[\])}]+", "", line)
        arrow = re.fullmatch(
            r"\s*(\[\*\]|\w+) (?:-->|-\.->|-\. \"?(.*?)\"? \.->)(?:\|\"?(.*?)\"?\|)? (\[\*\]|\w+)(?:: (.*))?",
            plain,
        )
        if arrow:
            begin, *labels, end, after = arrow.groups()
            label = next(filter(None, [*labels, after]), "")
            shown = [names.get(str(name), str(name)).replace("[*]", "●") for name in (begin, end)]
            lines.append(f"- {shown[0]} → {shown[1]}" + (f" ({label})" if label else ""))
    return "\n".join(lines)


def _navigation() -> str:
    """The navigation as a value of TOML."""

    def entry(title: str, value: str) -> str:
        return f"{{ {json.dumps(title, ensure_ascii=False)} = {value} }}"

    def path(page: Path) -> str:
        return json.dumps(place_of(page).relative_to(_COPY / "docs").as_posix())

    sections = [entry("Home", path(README))]
    for heading, pages in listed_pages().items():
        listed = [entry(title, path(page)) for title, page in pages]
        sections.append(entry(heading, path(pages[0][1]) if len(pages) == 1 else f"[{', '.join(listed)}]"))
    return f"[{', '.join(sections)}]"


def _publish(built: Path) -> None:
    """Move the built pages to their place, with scripts as files, and the language of Japanese pages."""
    japanese = {
        place_of(page).relative_to(_COPY / "docs").with_suffix(".html")
        for heading, pages in listed_pages().items()
        for _, page in pages
        if _JAPANESE.search(heading)
    }
    for needless in ("404.html", "sitemap.xml"):
        (built / needless).unlink(missing_ok=True)
    for page in built.rglob("*.html"):
        path = page.relative_to(built)
        html, scripts = with_script_files(page.read_text(encoding="utf-8"), path)
        if path in japanese:
            html = html.replace('<html lang="en"', '<html lang="ja"', 1)
        page.write_text(html, encoding="utf-8")
        for name, script in scripts:
            (built / _SCRIPTS / name).write_text(script, encoding="utf-8")
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(built, SITE)


def with_script_files(html: str, page: Path) -> tuple[str, list[tuple[str, str]]]:
    """The page with scripts from files only, and these files. :raises SystemExit: the page loads something from another host."""
    if foreign := _FOREIGN.search(html):
        raise SystemExit(f"{page} loads from another host: {foreign[0]}")
    root, scripts = "../" * (len(page.parts) - 1) or "./", list(_inline_scripts(html))
    for name, script in scripts:
        html = html.replace(f"<script>{script}</script>", f'<script src="{root}{_SCRIPTS}/{name}"></script>')
    return html, scripts


def _inline_scripts(html: str) -> Iterator[tuple[str, str]]:
    for script in dict.fromkeys(re.findall(r"<script>(.*?)</script>", html, re.DOTALL)):
        yield f"inline.{hashlib.sha256(script.encode()).hexdigest()[:8]}.js", script


if __name__ == "__main__":
    build()
