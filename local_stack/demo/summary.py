"""Progress lines and the summary table, for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from local_stack.demo.details import RecordedRun, padded, text_table, width_of
from local_stack.demo.runs import DemoRun

# The longest name of a batch, with its id.
_NAME_WIDTH = 44
_WORDS_WIDTH = 36
_SCREEN_WIDTH = 100
_SHORTENED = "…"


@dataclass(frozen=True)
class EndedRun:
    """A run of the demo with its exit code and its time (with Airflow's). ``result`` is None if the run was never opened."""

    run: DemoRun
    exit_code: int
    seconds: float
    result: RecordedRun | None

    @property
    def ended_well(self) -> bool:
        """Whether the run ended as expected. The demo data make some tenants fail, never all of them, and no step of a run."""
        if self.result is None or not self.run.ended_well(self.exit_code):
            return False
        return not self.exit_code or self.result.status == "partial"

    @property
    def failed_on_purpose(self) -> bool:
        """Whether the demo data made it fail."""
        return self.ended_well and bool(self.exit_code)

    @property
    def mark(self) -> str:
        """One character for the end of the run."""
        return "✗" if not self.ended_well else "!" if self.failed_on_purpose else "✓"

    @property
    def outcome(self) -> str:
        """The result in a word."""
        return "失敗" if not self.ended_well else "想定の失敗" if self.failed_on_purpose else "成功"

    @property
    def made(self) -> str:
        """What the run has made, in a few words."""
        return self.result.words(self.run.made) if self.result else ""

    @property
    def reason(self) -> str:
        """The first error that a failed run has recorded, and how many there are besides."""
        errors = self.result.errors if self.result else ()
        more = f"（ほか {len(errors) - 1} {self.result.unit}）" if self.result and len(errors) > 1 else ""
        return f"{errors[0].unit}{more}: {errors[0].error}" if errors else ""

    @property
    def time(self) -> str:
        """The time of day of the run, if its batch runs several times."""
        return self.run.date[11:16]


def step_line(name: str, seconds: float) -> str:
    """The line of a step of the preparation."""
    return f"✓ {padded(name, _NAME_WIDTH)} {seconds:5.1f} s"


def progress_line(ended: EndedRun) -> str:
    """The line of a run that has ended."""
    units = f"{ended.result.total} {ended.result.unit}" if ended.result else ""
    why = "  想定の失敗" if ended.failed_on_purpose else ""
    return (
        f"{ended.mark} {padded(ended.run.title, _NAME_WIDTH)} {ended.seconds:5.1f} s  {units}{why}".rstrip()
    )


def summary(ended: Sequence[EndedRun]) -> str:
    """The table of all runs, and why some fail on purpose."""
    header = ("バッチ", "結果", "成功", "失敗", "行", "できたもの", "秒")
    rows = [
        (
            f"{each.run.spec.id} {each.time}".rstrip(),
            each.outcome,
            each.result.succeeded,
            each.result.failed,
            each.result.records,
            shortened(each.made, _WORDS_WIDTH),
            f"{each.seconds:.1f}",
        )
        for each in ended
        if each.result
    ]
    lines = text_table(header, rows).splitlines()
    reasons = [
        shortened(f"  {each.run.spec.id} {each.reason}", _SCREEN_WIDTH)
        for each in ended
        if each.failed_on_purpose
    ]
    if reasons:
        lines += ["", "  「想定の失敗」は、デモのデータがわざと起こします。", *reasons]
    return "\n".join(lines)


def shortened(text: str, width: int) -> str:
    """The text, or its beginning with an ellipsis, in so many columns."""
    if width_of(text) <= width:
        return text
    while width_of(text) > width - width_of(_SHORTENED):
        text = text[:-1]
    return text + _SHORTENED
