"""The layout of `describe`: lines with tabs in them, lined up column by column. Pure.

A column reaches as far as the lines next to each other that have it; a line without a tab ends all columns. Text
right of the last tab of a line is free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from api.durations import since

PADDING = 2
MAX_ANNOTATION = 140
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def tabulate(lines: Iterable[str]) -> str:
    """The lines as text, tabs turned into as many blanks as it takes."""
    out: list[str] = []
    _block([each.split("\t") for line in lines for each in line.split("\n")], [], out)
    return "".join(f"{line}\n" for line in out)


def _block(lines: Sequence[Sequence[str]], widths: list[int], out: list[str]) -> None:
    """Lay out lines whose first len(widths) columns are known, one run of lines that have the next column at a time."""
    column, start, index = len(widths), 0, 0
    while index < len(lines):
        if column >= len(lines[index]) - 1:
            index += 1
            continue
        out += [_line(each, widths) for each in lines[start:index]]
        start = index
        while index < len(lines) and column < len(lines[index]) - 1:
            index += 1
        width = max(len(each[column]) for each in lines[start:index]) + PADDING
        _block(lines[start:index], [*widths, width], out)
        start = index
    out += [_line(each, widths) for each in lines[start:]]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(cell.ljust(widths[index]) if index < len(widths) else cell for index, cell in enumerate(cells))


def rfc1123(timestamp: Any) -> str:
    """A timestamp in the local zone: Mon, 02 Jan 2006 15:04:05 +0000."""
    if not timestamp:
        return "<unset>"
    return datetime.fromisoformat(timestamp).astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")


def indent(level: int, lines: Iterable[str]) -> list[str]:
    return ["  " * level + line for line in lines]


def maybe(section: Mapping[str, Any], field: str, title: str) -> list[str]:
    """The line of a field that may be missing."""
    value = section.get(field)
    return [] if value in (None, "") else [f"{title}:\t{value}"]


def lower(value: Any) -> str:
    """Booleans as Kubernetes writes them; a missing one is false."""
    return "false" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def stacked(title: str, values: Sequence[str]) -> list[str]:
    """`Title:  first`, the others below it."""
    first, *rest = values or ["<none>"]
    return [f"{title}:\t{first}", *(f"\t{each}" for each in rest)]


def labels(title: str, values: Mapping[str, str] | None) -> list[str]:
    return stacked(title, [f"{key}={value}" for key, value in sorted((values or {}).items())])


def annotation_lines(title: str, values: Mapping[str, str] | None) -> list[str]:
    """`Title:  key: value`; long values below their key, apply's bookkeeping left out."""
    shown: list[str] = []
    for key, value in sorted((values or {}).items()):
        text = value.removesuffix("\n")
        if key == LAST_APPLIED:
            continue
        if len(key) + len(text) + 2 > MAX_ANNOTATION or "\n" in text:
            shown += [f"{key}:", *(f"  {_shortened(line)}" for line in text.split("\n"))]
        else:
            shown.append(f"{key}: {text}")
    return stacked(title, shown)


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_ANNOTATION - 2 else line[: MAX_ANNOTATION - 2] + "..."


def tolerations(title: str, values: Sequence[Mapping[str, Any]] | None) -> list[str]:
    ordered = sorted(values or [], key=lambda each: str(each.get("key", "")))
    return stacked(title, [_toleration(each) for each in ordered])


def _toleration(toleration: Mapping[str, Any]) -> str:
    text = str(toleration.get("key", ""))
    text += f"={toleration['value']}" if toleration.get("value") else ""
    text += f":{toleration['effect']}" if toleration.get("effect") else ""
    if toleration.get("operator") == "Exists" and not toleration.get("value"):
        text += " op=Exists" if text else "op=Exists"
    if toleration.get("tolerationSeconds") is not None:
        text += f" for {toleration['tolerationSeconds']}s"
    return text


def controlled_by(obj: Mapping[str, Any]) -> list[str]:
    owners = (each for each in obj["metadata"].get("ownerReferences") or [] if each.get("controller"))
    return [f"Controlled By:\t{each['kind']}/{each['name']}" for each in owners][:1]


def events(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The events of an object, oldest first, with how often and since when."""
    lines = ["Events:", "  Type\tReason\tAge\tFrom\tMessage", "  ----\t------\t----\t----\t-------"]
    for each in sorted(items, key=last_seen):
        source = (each.get("source") or {}).get("component") or each.get("reportingComponent") or ""
        message = str(each.get("message") or "").strip()
        lines.append(f"  {each.get('type', '')}\t{each.get('reason', '')}\t{event_age(each)}\t{source}\t{message}")
    return lines if items else ["Events:\t<none>"]


def last_seen(event: Mapping[str, Any]) -> str:
    series, created = event.get("series") or {}, event["metadata"].get("creationTimestamp")
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or created or "")


def event_age(event: Mapping[str, Any]) -> str:
    """`5s`, or `5s (x3 over 2m)` for one that came again."""
    first = since(event.get("eventTime") or event.get("firstTimestamp"))
    series = event.get("series") or {}
    if series:
        return f"{since(series.get('lastObservedTime'))} (x{series.get('count')} over {first})"
    if event.get("count", 0) > 1:
        return f"{since(event.get('lastTimestamp'))} (x{event['count']} over {first})"
    return first
