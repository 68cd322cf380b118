"""Results of runs that never were, made from a seed: what a screen and a page are tested with."""

import math
import random
from collections import Counter
from collections.abc import Iterable
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from chatbot.simulate.result import (
    DEFINITIONS,
    Accuracy,
    ByTurn,
    Failure,
    Machine,
    Metric,
    Moment,
    Process,
    Result,
    SloResult,
    Totals,
    Value,
    Verdict,
    Window,
)


def bucket(us: int) -> int:
    """Return the lower bound of the bucket that a value lies in."""
    width = max(1 << max(us.bit_length() - 1, 0) >> 10, 1)
    return us // width * width


def metric(values_ms: Iterable[float], failed: int = 0) -> Metric:
    """Return the metric of these values, with so many failed turns."""
    values = sorted(values_ms)
    if not values:
        inf: Value = "inf" if failed else None
        return Metric(count=0, failed=failed, p50=inf, p90=inf, p95=inf, p99=inf)
    failures: list[Value] = ["inf"] * failed
    every: list[Value] = [*values, *failures]

    def at(q: float, least: int = 1) -> Value:
        if len(every) < least:
            return None
        return every[min(math.ceil(q * len(every)), len(every)) - 1]

    def interval(q: float) -> tuple[Value, Value]:
        spread = 1.96 * math.sqrt(len(every) * q * (1 - q))
        low, high = (
            min(max(round(q * len(every) + sign * spread) - 1, 0), len(every) - 1)
            for sign in (-1, 1)
        )
        return every[low], every[high]

    counts = Counter(bucket(int(value * 1000)) for value in values)
    return Metric(
        count=len(values),
        failed=failed,
        mean=sum(values) / len(values),
        min=values[0],
        max=values[-1],
        p50=at(0.5),
        p90=at(0.9),
        p95=at(0.95),
        p99=at(0.99, 100),
        p99_9=at(0.999, 1000),
        intervals={name: interval(q) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))},
        histogram=dict(sorted(counts.items())),
    )


def result(
    *,
    turns: int = 12_000,
    indexes: int = 3,
    failing: float = 0.01,
    duration_s: float = 60.0,
    rate: float | None = None,
    ttft_ms: float = 40.0,
    spread: float = 0.4,
    reasoning: bool = False,
    seed: int = 7,
    **given: Any,
) -> Result:
    """Return the result of a run of so many turns; with `given`, fields of it as they are wanted."""
    draw = random.Random(seed)
    failed = round(turns * failing)
    answered = turns - failed
    service = [draw.lognormvariate(math.log(ttft_ms), spread) for _ in range(answered)]
    pipeline = [draw.lognormvariate(-0.5, 0.4) for _ in service]
    late = [max(draw.gauss(0.1, 0.1), 0) + (30 if draw.random() < 0.003 else 0) for _ in service]
    response = [sum(each) for each in zip(service, pipeline, late, strict=True)]
    streaming = [draw.gauss(320, 12) for _ in service]
    latency = [a + b for a, b in zip(response, streaming, strict=True)]
    latency_service = [a + b for a, b in zip(service, streaming, strict=True)]
    metrics = {
        "ttft": metric(response, failed),
        "ttft_service": metric(service, failed),
        "ttfo": metric([value + 80 * reasoning for value in response], failed),
        "ttfo_service": metric([value + 80 * reasoning for value in service], failed),
        "tpot": metric([value / 31 for value in streaming]),
        "gap": metric([draw.lognormvariate(math.log(10), 0.2) for _ in service]),
        "latency": metric(latency, failed),
        "latency_service": metric(latency_service, failed),
        "late": metric(late),
        "pipeline": metric(pipeline),
        "headers": metric([value / 2 for value in service]),
        "commit": metric([draw.gauss(4, 0.5) for _ in service]),
        "server_total": metric([value - 0.4 for value in latency_service]),
        "session": metric([value * indexes for value in latency[:: max(indexes, 1)]]),
    }
    seconds = max(int(duration_s), 1)
    each = answered / seconds
    timeline = []
    for second in range(seconds):
        values = [draw.lognormvariate(math.log(ttft_ms), spread) for _ in range(40)]
        good = int(max(draw.gauss(each, each**0.5), 0)) if answered else 0
        bad = failed // seconds + (draw.random() < failed % seconds / seconds)
        stalls = second in (seconds // 2, seconds // 2 + 1) and seconds > 10
        timeline.append(
            Moment(
                at_s=float(second),
                width_s=1.0,
                asked=good + bad,
                answered=good // 3 if stalls else good,
                failed=bad,
                in_flight=64 + 40 * stalls,
                sessions=min(64, 8 * second + 8),
                output_tokens=32 * good,
                ttft_p50=metric(values).p50 if answered else "inf" if bad else None,
                ttft_p95=metric(values).p95 if answered else "inf" if bad else None,
                latency_p50=(ttft_ms + 320) if answered else None,
                latency_p95=(2 * ttft_ms + 320) if answered else None,
            )
        )
    by_turn = []
    for index in range(indexes):
        part = [value * (1 - 0.25 * (index > 0)) for value in response[index::indexes]]
        by_turn.append(
            ByTurn(
                index=index,
                asked=turns // indexes,
                answered=len(part),
                input_tokens=16.0 + 48 * index if part else None,
                ttft=metric(part, failed // indexes),
                latency=metric([value + 320 for value in part], failed // indexes),
            )
        )
    window = Window(
        from_s=0.0,
        to_s=duration_s,
        asked=turns / duration_s,
        answered=answered / duration_s,
        failed=failed / duration_s,
        good=0.97 * answered / duration_s,
        input_tokens=64 * answered / duration_s,
        output_tokens=32 * answered / duration_s,
        chunks=32 * answered / duration_s,
    )
    kinds = {"timeout": failed // 2, "server_error": failed - failed // 2} if failed else {}
    error = [draw.gauss(0.3, 0.4) + draw.expovariate(3) for _ in service]
    made = Result(
        program="chatbot 1.0",
        run_id="01JBXK4P9",
        started=1_760_000_000.0,
        wall_s=duration_s + 4,
        command="chatbot simulate --sessions 64 --turns 3 --duration 60s --seed 7",
        backend="openai",
        model="sim-1",
        seed=seed,
        settings={
            "simulation": {"sessions": 64, "turns": indexes, "think": "exp:200ms"},
            "server": {"first_token": "lognormal:40ms,0.4", "chunks": 32},
            "pipeline": {"workers": 2},
        },
        machine=Machine(
            os="Linux 6.1",
            cpu="AMD EPYC 7B13",
            cores=2,
            memory_mb=7_944,
            python="3.11.7",
            libraries={"aiohttp": "3.10.1", "uvloop": "0.21.0"},
        ),
        definitions=DEFINITIONS,
        verdict=Verdict(
            name="VALID",
            reasons=("the client's own error of TTFT is 0.5 ms at the median, below 2 ms",),
        ),
        totals=Totals(
            asked=turns,
            answered=answered,
            failed=failed,
            by_kind=kinds,
            saved=answered,
            late=3,
            input_tokens=64 * answered,
            output_tokens=32 * answered,
            chunks=32 * answered,
            sessions_begun=turns // max(indexes, 1),
            sessions_completed=turns // max(indexes, 1),
        ),
        requested_rate=rate,
        achieved_rate=turns / duration_s,
        whole=window,
        steady=msgspec.structs.replace(window, from_s=duration_s / 12, to_s=duration_s * 0.98),
        slos=(
            SloResult(metric="ttft", limit_ms=100.0, met=int(0.97 * answered), asked=turns),
            SloResult(metric="tpot", limit_ms=30.0, met=answered, asked=turns),
        ),
        metrics=metrics,
        by_turn=tuple(by_turn),
        timeline=tuple(timeline),
        failures=tuple(
            Failure(
                kind=kind,
                count=count,
                http_status=500 if kind == "server_error" else None,
                example="openai did not answer within 30 s"
                if kind == "timeout"
                else "openai answered 500: the model could not be loaded",
            )
            for kind, count in kinds.items()
            if count
        ),
        accuracy=(
            Accuracy(
                where="run",
                turns=answered,
                turns_per_s=answered / duration_s,
                ttft_true=metric(service),
                ttft_error=metric(error),
                chunk_lag=metric([value / 2 for value in error if value > 0]),
                loop_lag=metric([abs(value) * 2 for value in error]),
                own_share=metric(
                    [sum(each) for each in zip(map(abs, error), pipeline, late, strict=True)]
                ),
            ),
        )
        if answered
        else (),
        processes=(
            Process(role="simulate", slot=0, pid=10, cpu_s=9.1, cpu_us_per_turn=758.0, rss_mb=61.0),
            Process(role="worker", slot=0, pid=11, cpu_s=21.0, cpu_us_per_turn=875.0, rss_mb=70.0),
            Process(role="worker", slot=1, pid=12, cpu_s=20.5, cpu_us_per_turn=854.0, rss_mb=71.0),
            Process(role="store", slot=0, pid=13, cpu_s=6.0, cpu_us_per_turn=500.0, rss_mb=55.0),
            Process(
                role="supervisor", slot=0, pid=9, cpu_s=7.0, cpu_us_per_turn=583.0, rss_mb=50.0
            ),
            Process(
                role="telemetry", slot=0, pid=14, cpu_s=2.0, cpu_us_per_turn=167.0, rss_mb=66.0
            ),
        ),
    )
    return msgspec.structs.replace(made, **given)


def structs(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Return any values of a struct, however unlikely, within what its form allows."""
    hints = get_type_hints(kind)
    fields = msgspec.structs.fields(kind)
    return st.builds(
        kind,
        **{
            field.name: _NAMED[field.name] if field.name in _NAMED else _any(hints[field.name])
            for field in fields
            if field.name not in ("format", "version")
        },
    )


def _any(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return structs(hint)
    if get_origin(hint) is tuple:
        of, *rest = get_args(hint)
        inner = _any(of)
        return st.lists(inner, max_size=2).map(tuple) if rest == [...] else st.tuples(inner, inner)
    if get_origin(hint) is dict:
        return st.dictionaries(*map(_any, get_args(hint)), max_size=2)
    if get_origin(hint) in (Union, UnionType):
        return st.one_of(*map(_any, get_args(hint)))
    if hint is object:
        return st.recursive(st.text(), lambda inner: st.dictionaries(st.text(), inner, max_size=3))
    return _PLAIN[hint] if hint in _PLAIN else st.from_type(hint)


_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, 10**12),
    float: st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1e-12, 1.0]),
    str: st.text(max_size=30) | st.sampled_from(["\x1b[31m\r\n", "漢字" * 40, "<b>&\"'</b>]]>"]),
}
_NAMED: dict[str, st.SearchStrategy[Any]] = {
    "histogram": st.dictionaries(st.integers(0, 10**13), st.integers(1, 10**9), max_size=3),
    "width_s": st.floats(1e-3, 1e6),
    "metrics": st.dictionaries(
        st.sampled_from(list(DEFINITIONS)) | st.text(),
        st.deferred(lambda: structs(Metric)),
        max_size=3,
    ),
}
