"""The report of a run as a page that holds everything it needs. Pure: the same result is the same page.

The order is that of the questions: can it be believed, how much, how fast, when, who failed, on what.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from chatbot.simulate import page as html
from chatbot.simulate.batches import latency_s
from chatbot.simulate.course import timeline
from chatbot.simulate.measures import TITLES, accuracy_line, is_told_apart
from chatbot.simulate.plots import Figure, Series, by_turn, histogram, percentiles
from chatbot.simulate.result import DEFINITIONS, Metric, Result, Window
from chatbot.simulate.screen import by_role, within
from chatbot.simulate.text import NONE, clock, duration, number, rate, share, signed

_PERCENTILES = (("p50", "p50"), ("p90", "p90"), ("p95", "p95"), ("p99", "p99"), ("p99_9", "p99.9"))
_NO_ANSWER = "<p>No turn was answered.</p>"
_MOST_DEPTH = 6  # of settings within settings


def page(result: Result) -> str:
    """Return report.html."""
    body = (
        *_head(result),
        html.section("throughput", "Throughput", _throughput(result), _slos(result)),
        html.section("durations", "How long it took", _durations(result)),
        html.section("timeline", "Over time", _timeline(result)),
        html.section("measures", "Every measure", _metrics(result)),
        html.section("turns", "By turn of the session", *_by_turn(result)),
        html.section("failures", "Failures", _failures(result)),
        html.section("accuracy", "Accuracy", *_accuracy(result)),
        html.section("processes", "Cost by process", _processes(result)),
        html.section("settings", "What was run", *_settings(result)),
        f"<footer>{html.text(result.program or 'chatbot')}, run {html.text(result.run_id)},"
        f" format {html.text(result.format)} {result.version}</footer>",
    )
    return html.document(f"{_subject(result)}: {result.verdict.name}", filter(None, body))


def _subject(result: Result) -> str:
    return f"{result.backend}/{result.model}"


def _head(result: Result) -> Iterator[str]:
    took = f"{clock(result.wall_s)} long"
    if result.ended_early:
        took += f", ended early: {result.ended_early}"
    about = f"{moment(result.started)}, {took}, seed {result.seed}"
    yield f'<header>\n<h1>{html.text(_subject(result))}</h1>\n<p class="about">{html.text(about)}</p>'
    yield html.verdict(result)
    yield _warnings(result)
    yield html.tiles(_tiles(result))
    yield "</header>"


def moment(seconds: float) -> str:
    """Return a time as people write it, in UTC, since the page is the same wherever it is made."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OSError, OverflowError, ValueError):  # a clock that was far off has written it
        return "(no such time)"


def _warnings(result: Result) -> str:
    said = list(result.warnings)
    if result.not_saving:
        said.append(f"not saving: {result.not_saving}")
    if result.telemetry_dropped:
        said.append(f"telemetry dropped {result.telemetry_dropped:,} records")
    said += [f"{role} was started again, {n} times" for role, n in result.restarts.items()]
    return (
        f'<ul class="warnings">{"".join(f"<li>{html.text(text)}</li>" for text in said)}</ul>'
        if said
        else ""
    )


def _tiles(result: Result) -> Iterator[tuple[str, str, str]]:
    totals, none = result.totals, Metric(count=0)
    ttft, latency = result.metrics.get("ttft", none), result.metrics.get("latency", none)
    asked = f"of {rate(result.requested_rate)} requested" if result.requested_rate else "whole run"
    yield "Turns answered/s", rate(result.whole.answered), asked
    yield "Time to first token", duration(ttft.p50), f"p95 {duration(ttft.p95)}"
    yield "Latency", duration(latency.p50), f"p95 {duration(latency.p95)}"
    yield "Output tokens/s", rate(result.whole.output_tokens), "whole run"
    missed = totals.asked - totals.answered
    yield "Not answered", share(missed, totals.asked), f"{missed:,} of {totals.asked:,} turns"
    if result.slos:
        yield "Goodput, turns/s", rate(result.whole.good), "met every SLO"


def _throughput(result: Result) -> str:
    heads = ("", "Asked", "Answered", "Failed", "Good", "Tokens in", "Tokens out", "Chunks")
    rows: list[tuple[str, ...]] = [heads]
    rows += [_window(name, each, has_slos=bool(result.slos)) for name, each in _windows(result)]
    totals = result.totals
    said = f"Rates are per second. Turns: {totals.asked:,} asked, {totals.answered:,} answered"
    for name, count in (
        ("failed", totals.failed),
        ("cancelled", totals.cancelled),
        ("interrupted", totals.interrupted),
        ("lost", totals.lost),
    ):
        said += f", {count:,} {name}" if count else ""
    said += f". {totals.saved:,} were saved; {totals.late:,} were asked more than 10 ms late,"
    said += f" {totals.dropped:,} never; {totals.retries:,} retries;"
    said += (
        f" {totals.unmeasured:,} more in the warm-up. Sessions: {totals.sessions_begun:,} begun,"
    )
    said += f" {totals.sessions_completed:,} completed."
    if result.requested_rate is not None:
        reached = share(result.achieved_rate, result.requested_rate)
        said += f" {rate(result.requested_rate)} turns a second were requested,"
        said += f" {rate(result.achieved_rate)} achieved ({reached})."
    return f'{html.table(rows)}<p class="note">{html.text(said)}</p>'


def _windows(result: Result) -> tuple[tuple[str, Window], ...]:
    return ("Whole run", result.whole), ("Steady window", result.steady)


def _window(name: str, window: Window, *, has_slos: bool) -> tuple[str, ...]:
    return (
        f"{name}<small> {window.from_s:.4g} to {window.to_s:.4g} s</small>",
        *map(rate, (window.asked, window.answered, window.failed)),
        rate(window.good) if has_slos else NONE,
        *map(rate, (window.input_tokens, window.output_tokens, window.chunks)),
    )


def _slos(result: Result) -> str:
    rows = [("SLO", "Met by", "Turns", "Of")]
    for slo in result.slos:
        name = f"{html.text(TITLES.get(slo.metric, slo.metric))} ≤ {duration(slo.limit_ms)}"
        rows.append((name, share(slo.met, slo.asked), f"{slo.met:,}", f"{slo.asked:,}"))
    return html.table(rows)


def _durations(result: Result) -> str:
    drawn = list(_distributions(result))
    return html.figures(drawn) if any(figure.svg for figure in drawn) else _NO_ANSWER


def _distributions(result: Result) -> Iterator[Figure]:
    for name in ("ttft", "latency"):
        series: list[Series] = [
            (look, text, result.metrics[each])
            for look, text, each in (
                ("c1", "from when it was due", name),
                ("c4 dashed", "from sending", f"{name}_service"),
                ("c3", "server's own", "server_total" if name == "latency" else ""),
            )
            if each in result.metrics
        ]
        yield percentiles(f"{name}-p", TITLES[name], series)
        yield histogram(f"{name}-h", f"{TITLES[name]}, by duration", series[:2])


def _timeline(result: Result) -> str:
    note = (
        '<p class="note">Shaded: the steady window. Durations are those of the turns that ended then,'
        " from when they were due.</p>"
    )
    return html.figures(timeline(result.timeline, result.steady, latency_s(result))) + note


def _metrics(result: Result) -> str:
    heads = ("ms", "Turns", "Failed", "Mean", "Least", *(text for _, text in _PERCENTILES))
    rows: list[tuple[str, ...]] = [(*heads, "Most", "Definition")]
    for name in (*TITLES, *(name for name in result.metrics if name not in TITLES)):
        metric = result.metrics.get(name)
        if metric is None or not is_told_apart(name, result.metrics):
            continue
        defined = result.definitions.get(name, DEFINITIONS.get(name, ""))
        rows.append(
            (
                html.text(TITLES.get(name, name)),
                *(f"{metric.count:,}", f"{metric.failed:,}"),
                *(number(metric.mean), number(metric.min)),
                *(_percentile(metric, field) for field, _ in _PERCENTILES),
                *(number(metric.max), html.text(defined)),
            )
        )
    note = "Failed turns count in the percentiles as infinite (∞), not in mean and extremes. ±: 95 % confidence."
    shown = html.table(rows, words=(len(rows[0]) - 1,))
    return f'{shown}<p class="note">{note}</p>' if shown else ""


def _percentile(metric: Metric, field: str) -> str:
    about = within(metric, field)
    return number(getattr(metric, field)) + (f"<small>{about}</small>" if about else "")


def _by_turn(result: Result) -> Iterator[str]:
    turns = result.by_turn
    if len(turns) < 2:
        return
    drawn = [
        by_turn(f"turn-{name}", TITLES[name], [(each.index, getattr(each, name)) for each in turns])
        for name in ("ttft", "latency")
    ]
    yield html.figures(figure for figure in drawn if figure.svg)
    heads = ("Turn", "Asked", "Answered", "Tokens in", "TTFT p50", "p95", "p99")
    rows: list[tuple[str, ...]] = [(*heads, "Latency p50", "p95", "p99")]
    for each in turns:
        measured = (each.ttft.p50, each.ttft.p95, each.ttft.p99)
        ended = (each.latency.p50, each.latency.p95, each.latency.p99)
        counts = (f"{each.asked:,}", f"{each.answered:,}", number(each.input_tokens))
        rows.append((f"{each.index + 1}", *counts, *map(number, measured), *map(number, ended)))
    yield html.table(rows)


def _failures(result: Result) -> str:
    rows = [("Kind", "Turns", "Share", "HTTP", "The first of them")]
    for failure in result.failures:
        kind, example = html.text(failure.kind), html.text(failure.example)
        status = f"{failure.http_status}" if failure.http_status else NONE
        part = share(failure.count, result.totals.asked)
        rows.append((kind, f"{failure.count:,}", part, status, example))
    return html.table(rows, words=(4,)) or "<p>No turn failed.</p>"


def _accuracy(result: Result) -> Iterator[str]:
    if not result.accuracy:
        yield "<p>The client's own error is not known: no server told it the truth.</p>"
        return
    heads = ("ms", "Turns", "a second", "True TTFT p50", "Error p50", "p95", "p99")
    rows = [(*heads, "Own share p50", "p99", "Chunk lag p50", "p99", "Loop lag p99")]
    for each in result.accuracy:
        line = accuracy_line(each)
        yield f"<p>{html.text(line[:1].upper() + line[1:])}.</p>"
        error, own, lag = each.ttft_error, each.own_share, each.chunk_lag
        rows.append(
            (
                {"run": "In the run", "before": "Before", "after": "After"}[each.where],
                *(f"{each.turns:,}", rate(each.turns_per_s), number(each.ttft_true.p50)),
                *(signed(error.p50), signed(error.p95), signed(error.p99)),
                *(signed(own.p50), signed(own.p99)),
                *(number(lag.p50), number(lag.p99), number(each.loop_lag.p99)),
            )
        )
    yield html.table(rows)
    yield (
        '<p class="note">The error is that of a time from the sending, against the server\'s own clock. The own share'
        " is what the client has added to a time from when the turn was due: it was asked late, was saved and given"
        " to a worker, and that error. What it waited for room is not in it.</p>"
    )


def _processes(result: Result) -> str:
    rows = [("Role", "Processes", "CPU µs a turn", "CPU s", "Memory MB")]
    for role, count, us, cpu_s, rss_mb in by_role(result.processes):
        rows.append((html.text(role), f"{count}", number(us), number(cpu_s), number(rss_mb)))
    return html.table(rows)


def _settings(result: Result) -> Iterator[str]:
    if result.command:
        yield f"<pre>{html.lines(result.command)}</pre>"
    machine = result.machine
    rows = [
        ("", "Value"),
        ("Machine", f"{machine.cpu}, {machine.cores} cores, {machine.memory_mb:,} MB"),
        ("System", f"{machine.os}, Python {machine.python}"),
        *((f"Library {name}", version) for name, version in machine.libraries.items()),
        ("Seed", f"{result.seed}"),
        *_flat(result.settings),
    ]
    yield html.table([tuple(map(html.text, row)) for row in rows], words=(1,))


def _flat(
    settings: Mapping[str, object], lead: str = "", depth: int = 0
) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value and depth < _MOST_DEPTH:
            yield from _flat(value, f"{lead}{name} · ", depth + 1)
        else:
            yield f"{lead}{name}", NONE if value in (None, "") else str(value)
