"""Makes the pictures of docs/images from today's demo: ``make pictures``, after ``make demo``.

It uses a running `make up`, or starts one and ends it again. What depends on the minute in which the pictures are made is hidden.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import quote

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page

from include.skillreport.core.catalog import EXTERNAL_SYNC
from local_stack.airflow_processes import supervisor_of
from local_stack.stack import PROJECT, SAMPLE_USERS, LocalStack
from tests.browser.chromium import CHROMIUM, chromium
from tests.docs.picture_templates import IMAGES, write_record

_DAY_SECONDS = 86_400
_START_SECONDS = 300

# Which batches a paused stack has not started, the line of the present moment, and the time of the page.
_HIDDEN = "#paused { display: none !important } h1 small, .night .now { visibility: hidden !important }"

# CSS pixels of the picture of the README.
_WIDTH, _HEIGHT = 1600, 900

_OVERVIEW = """\
<!DOCTYPE html><meta charset="utf-8"><style>
body {{ margin: 0; background: #e8edf3; font: 20px sans-serif; }}
main {{ display: grid; grid-template-columns: 5fr 3fr; grid-template-rows: 1fr 1fr; gap: 16px; padding: 16px; box-sizing: border-box;
  width: {width}px; height: {height}px; }}
figure {{ margin: 0; background: white; border: 1px solid #b8c4d0; border-radius: 8px; overflow: hidden; min-height: 0; }}
img {{ width: 100%; display: block; }}
</style><main>{figures}</main>
"""


def main() -> int:
    """Make all pictures, and record the templates that they show."""
    stack = LocalStack()
    page = stack.directory / "demo" / "index.html"
    if CHROMIUM is None:
        raise SystemExit("There is no Chromium: install Debian's package chromium.")
    if not page.exists() or time.time() - page.stat().st_mtime > _DAY_SECONDS:
        raise SystemExit("There is no demo of the last 24 hours: run `make down db-reset demo` first.")
    with _running(stack) as airflow, chromium() as browser:
        camera = _Camera(browser, airflow)
        pictures = {
            "overview.png": _overview(camera, page.as_uri(), _mapped_task(stack)),
            "board-last-night.png": camera.shot(camera.board()),
            "board-clear.png": camera.shot(_clear_dialog(camera.board())),
        }
    for name, picture in pictures.items():
        # With 256 colours a picture is a third of the size, and looks the same.
        image = Image.open(BytesIO(picture)).convert("RGB")
        image = image.quantize(method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        image.save(IMAGES / name, optimize=True)
        print(IMAGES / name)
    write_record()
    return 0


@dataclass(frozen=True)
class _Camera:
    """Opens pages in new windows, and takes their pictures. ``airflow``: the address of Airflow, where the first sample user signs in."""

    browser: Browser
    airflow: str

    def open(self, address: str, width: int = 1400, height: int = 900) -> Page:
        """The page at the address."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            locale="ja-JP",
            timezone_id="Asia/Tokyo",
            reduced_motion="reduce",
            # What is hidden is hidden by a style, which the pages do not allow.
            bypass_csp=True,
        )
        name = SAMPLE_USERS[0]
        answer = context.request.post(f"{self.airflow}/auth/token", data={"username": name, "password": name})
        context.add_cookies([{"name": "_token", "value": answer.json()["access_token"], "url": self.airflow}])
        page = context.new_page()
        page.goto(address)
        page.wait_for_load_state("networkidle")
        return page

    def board(self, width: int = 1400, height: int = 900) -> Page:
        """The first page of the board."""
        return self.open(f"{self.airflow}/skill-batch-board/", width, height)

    def shot(self, page: Page, selector: str = "") -> bytes:
        """The window, or the first element of the selector."""
        if selector:
            return page.locator(selector).first.screenshot(animations="disabled")
        return page.screenshot(animations="disabled", style=_HIDDEN)


@contextmanager
def _running(stack: LocalStack) -> Iterator[str]:
    """The address of the UI of a running `make up`, or of one that runs during the block."""
    url = f"http://localhost:{stack.ports.ui}"
    if supervisor_of(stack.directory):
        _wait_for(url)
        yield url
        return
    was_running = stack.server.is_running()
    process = subprocess.Popen([sys.executable, "-m", "local_stack", "up"], cwd=PROJECT)
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()
        if not was_running:
            stack.server.stop()


def _wait_for(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    for _ in range(_START_SECONDS):
        if process and process.poll() is not None:
            raise SystemExit("`make up` has ended; its last lines say why.")
        try:
            httpx.get(f"{url}/api/v2/monitor/health", timeout=2)
        except httpx.HTTPError:
            time.sleep(1)
        else:
            return
    raise SystemExit(f"Airflow does not answer on {url}; `make down`, then `make pictures` again.")


def _overview(camera: _Camera, demo: str, task: str) -> bytes:
    """The picture of the README: the grid of a batch and the board in Airflow, an invoice and an alert on the page of the demo."""
    grid = camera.open(f"{camera.airflow}/{task}", 1500, 640)
    grid.get_by_text("タスクインスタンス").first.wait_for()  # the texts of the language come last
    shots = (
        camera.shot(grid),
        camera.shot(camera.open(demo), "#invoice img"),
        camera.shot(camera.board(1250, 640)),
        camera.shot(camera.open(demo, 900), "#alert"),
    )
    sources = [f"data:image/png;base64,{base64.b64encode(shot).decode()}" for shot in shots]
    page = camera.browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
    figures = "".join(f'<figure><img src="{source}"></figure>' for source in sources)
    page.set_content(_OVERVIEW.format(width=_WIDTH, height=_HEIGHT, figures=figures))
    return page.screenshot()


def _mapped_task(stack: LocalStack) -> str:
    """The path of the mapped task in the newest run of the batch: one instance per tenant and service."""
    with stack.database() as connection:
        (run_id,) = connection.execute(
            "SELECT run_id FROM batch.execution_log WHERE dag_id = %s ORDER BY started_at DESC LIMIT 1",
            [EXTERNAL_SYNC.dag_id],
        ).fetchone() or ("",)
    return f"dags/{EXTERNAL_SYNC.dag_id}/runs/{quote(run_id)}/tasks/{EXTERNAL_SYNC.mapped_task}/mapped"


def _clear_dialog(page: Page) -> Page:
    """The dialog of the first failure that can be cleared, on the board's first page."""
    button = page.get_by_role("button", name="失敗した分だけ再実行")
    if not button.count():
        raise SystemExit("The failures of the demo are gone: run `make down db-reset demo` first.")
    button.first.click()
    page.locator("dialog[open] form").wait_for()
    page.wait_for_load_state("networkidle")
    return page


if __name__ == "__main__":
    sys.exit(main())
