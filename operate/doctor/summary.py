"""The findings of `rosterd doctor` as lines for a person: what is said of many clients is one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import click

from operate.doctor.findings import CheckResult, Severity
from operate.output import some

WORDS: Final = {Severity.OK: "OK", Severity.WARNING: "warning", Severity.FAULT: "fault"}
_COLOURS: Final = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.FAULT: "red"}
_CLIENT: Final = "client "


def lines(findings: Iterable[CheckResult]) -> Iterator[str]:
    """Yield the lines; equal findings about clients are told of the first, and name the others."""
    alike: dict[tuple[object, ...], list[CheckResult]] = {}
    for finding in findings:
        alike.setdefault(_key(finding), []).append(finding)
    for first, *others in alike.values():
        topic = f"{first.topic} and {len(others)} more" if others else first.topic
        yield f"{click.style(f'{WORDS[first.level]:<8}', fg=_COLOURS[first.level])} {topic}: {first.what}"
        if others and first.level is not Severity.OK:
            yield f"         also {some([each.topic.removeprefix(_CLIENT) for each in others])}"
        if first.remedy:
            yield f"         -> {first.remedy}"


def _key(finding: CheckResult) -> tuple[object, ...]:
    """Return what findings of the same kind share: all but the name of the client, and numbers."""
    if not finding.topic.startswith(_CLIENT):
        return (finding.topic, finding.what, finding.remedy)
    name = re.compile(rf"\b{re.escape(finding.topic.removeprefix(_CLIENT))}\b")
    texts = (re.sub(r"\d+", "0", name.sub("*", text)) for text in (finding.what, finding.remedy))
    return (finding.level, *texts)
