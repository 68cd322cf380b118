"""The trace and the metrics file of a run, read as anyone would: JSON, line by line."""

import json
from pathlib import Path
from typing import Any

from chatbot.settings import SPAN_FILE


def lines(path: Path) -> list[Any]:
    """Return the lines of a file of JSON lines; each must be whole."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plain(attributes: list[Any]) -> dict[str, Any]:
    """Return OTLP's list of attributes as a dictionary."""
    return {entry["key"]: _value(entry["value"]) for entry in attributes}


def _value(value: dict[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    match kind:
        case "intValue":
            return int(inner)
        case "arrayValue":
            return [_value(item) for item in inner.get("values", ())]
        case _:
            return inner


def spans(log_dir: Path) -> list[dict[str, Any]]:
    """Return every span, with its `attributes` and those of its `resource` as dictionaries."""
    found: list[dict[str, Any]] = []
    for line in lines(log_dir / SPAN_FILE):
        for resource in line["resourceSpans"]:
            named = plain(resource["resource"]["attributes"])
            found += [
                {**span, "attributes": plain(span.get("attributes", [])), "resource": named}
                for scope in resource["scopeSpans"]
                for span in scope["spans"]
            ]
    return found


def last_points(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return each metric's last data points in the metrics file, by its name; sums are cumulative.

    Every program that wrote into the file, and every telemetry process of it, counts for itself, from
    zero: the points of one do not take the place of the others'.
    """
    last: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in lines(path):
        for resource in line["resourceMetrics"]:
            instance = plain(resource["resource"]["attributes"])["service.instance.id"]
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    data = metric.get("sum") or metric.get("histogram") or metric["gauge"]
                    for point in data["dataPoints"]:
                        labels = plain(point.get("attributes", []))
                        start = point.get("startTimeUnixNano", "")  # a gauge has none
                        key = (metric["name"], json.dumps(labels, sort_keys=True), instance, start)
                        before = last.get(key, point)
                        if int(before["timeUnixNano"]) <= int(point["timeUnixNano"]):
                            last[key] = {**point, "attributes": labels}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for (name, *_), point in last.items():
        by_name.setdefault(name, []).append(point)
    return by_name


def number(point: dict[str, Any]) -> int | float:
    """Return the value of a counter's or a gauge's point."""
    return int(point["asInt"]) if "asInt" in point else float(point["asDouble"])


def totals(path: Path, name: str, *labels: str) -> dict[tuple[Any, ...], int | float]:
    """Return what a counter stands at, by the values of some of its labels."""
    found: dict[tuple[Any, ...], int | float] = {}
    for point in last_points(path).get(name, ()):
        key = tuple(point["attributes"].get(label) for label in labels)
        found[key] = found.get(key, 0) + number(point)
    return found
