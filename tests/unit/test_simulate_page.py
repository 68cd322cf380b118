"""The page of a run, and that of a sweep: whole in itself, well formed, safe, and readable in light and dark."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from chatbot.simulate.course import timeline
from chatbot.simulate.html import page
from chatbot.simulate.plots import percentiles
from chatbot.simulate.result import Failure, Metric, Moment, Result, Verdict, Window
from chatbot.simulate.svg import Plot, Scale, spanning, upto
from chatbot.simulate.sweep import sweep_page
from chatbot.simulate.theme import DARK, LIGHT, SERIES
from tests.results import metric, result, structs

RUN = result(turns=3000)
CASES = {
    "usual": RUN,
    "reasoning and a rate": result(turns=3000, rate=50.0, reasoning=True, indexes=12, spread=1.3),
    "no turn": result(turns=0, indexes=1, timeline=()),
    "all failed": result(turns=300, failing=1.0),
    "one turn": result(turns=1, indexes=1, failing=0.0, duration_s=1.0),
    "an hour": result(turns=3000, duration_s=3600.0, indexes=30),
}
VOID = {"meta", "br"}
SECTIONS = ["throughput", "durations", "timeline", "measures", "turns", "failures", "accuracy"]


class Reader(HTMLParser):
    """Reads a page; raises where an element is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.text.append(data)

    @property
    def sections(self) -> list[str | None]:
        """The names of the sections, in order."""
        return [attributes.get("id") for tag, attributes in self.tags if tag == "section"]


def plots(text: str) -> list[ET.Element]:
    """Return the plots of a page; raises where one is not well-formed XML."""
    return [ET.fromstring(found) for found in re.findall(r"<svg .*?</svg>", text, re.DOTALL)]


def check(text: str) -> Reader:
    """Return the page as it was read, once it is seen to be sound."""
    reader = Reader(text)
    for plot in plots(text):
        numbers = re.findall(r'"[^"]*(?:nan|inf)[^"]*"', ET.tostring(plot, "unicode").split(">")[0])
        assert not numbers
        if plot.get("role") == "img":
            assert [child.tag for child in plot[:2]] == ["title", "desc"]
            assert plot.get("aria-labelledby") == f"{plot[0].get('id')} {plot[1].get('id')}"
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in reader.tags:
        assert tag not in ("script", "img", "link", "iframe", "object", "form", "base")
        assert not attributes.keys() & {"src", "style", "xlink:href", "srcset"}
        assert not any(name.startswith("on") for name in attributes)
        assert tag == "a" or "href" not in attributes
    return reader


@pytest.mark.parametrize("name", CASES)
def test_a_page_is_sound_and_has_every_section(name: str) -> None:
    reader = check(page(CASES[name]))
    assert [each for each in SECTIONS if each in reader.sections] == (
        SECTIONS if len(CASES[name].by_turn) > 1 else [each for each in SECTIONS if each != "turns"]
    ) or name == "no turn"
    assert reader.sections[-1] == "settings"


@pytest.mark.parametrize("name", CASES)
def test_everything_that_is_drawn_is_within_its_plot(name: str) -> None:
    for plot in plots(page(CASES[name])):
        width, height = map(float, (plot.get("viewBox") or "").split()[2:])
        for path in plot.iter("path"):
            for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.get("d") or ""):
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height
        for bar in plot.iter("rect"):
            assert 0 <= float(bar.get("x") or 0) <= width
            assert float(bar.get("width") or 0) > 0


def test_a_page_refers_to_nothing_else_and_its_policy_allows_only_its_style() -> None:
    text = page(RUN)
    assert not re.search(r"https?://|url\(|@import|//[a-z]", text)
    sheet = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(sheet) == 1
    digest = base64.b64encode(hashlib.sha256(sheet[0].encode()).digest()).decode()
    policy = next(
        attributes["content"]
        for tag, attributes in check(text).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]


def test_the_same_result_is_the_same_page() -> None:
    again = msgspec.json.decode(msgspec.json.encode(RUN), type=Result)
    assert page(again) == page(RUN)


def test_text_from_elsewhere_is_text() -> None:
    evil = "</title></style><script>alert('1')</script>\"&\x1b[31m\x00"
    shown = result(
        turns=30,
        model=evil,
        backend=evil,
        command=evil,
        ended_early=evil,
        not_saving=evil,
        run_id=evil,
        program=evil,
        warnings=(evil,),
        restarts={evil: 1},
        settings={evil: {evil: evil}},
        definitions={"ttft": evil},
        failures=(Failure(kind=evil, count=1, example=evil),),
        verdict=Verdict(name="VALID", reasons=(evil,)),
        metrics={"ttft": RUN.metrics["ttft"], evil: RUN.metrics["ttft"]},
        processes=(msgspec.structs.replace(RUN.processes[0], role=evil),),
        machine=msgspec.structs.replace(RUN.machine, cpu=evil, os=evil, libraries={evil: evil}),
    )
    for text in (page(shown), sweep_page([(evil, shown)], [f"{evil}/report.html"])):
        reader = check(text)
        assert not set("\x1b\0") & set(text)
        assert "<script>alert('1')</script>" in "".join(reader.text)  # shown, and not obeyed


def test_the_figures_are_those_of_the_result() -> None:
    words = " ".join(check(page(RUN)).text)
    ttft = RUN.metrics["ttft"]
    for figure in (f"{ttft.p50:.1f} ms", f"p95 {ttft.p95:.1f} ms", "2,970", "VALID", RUN.command):
        assert figure in words
    for definition in (RUN.definitions["ttft"], RUN.definitions["latency"]):
        assert definition in words
    assert "simulation · think" in words
    assert "exp:200ms" in words


def test_what_was_never_answered_has_no_empty_plot() -> None:
    text = page(result(turns=300, failing=1.0))
    assert "No turn was answered." in text
    assert "∞" in text
    titles = [plot[0].text for plot in plots(text) if plot.get("role") == "img"]
    assert titles == ["Throughput, turns a second over time", "Under way over time"]


def test_the_failed_turns_are_at_the_end_of_the_percentiles() -> None:
    figure = percentiles("x", "X", [("c1", "all", metric([1.0] * 50, failed=50))])
    (failed,) = (
        rect for rect in ET.fromstring(figure.svg).iter("rect") if rect.get("class") == "bar c2"
    )
    (half,) = (tick for tick in ET.fromstring(figure.svg).iter("text") if tick.text == "50")
    assert float(failed.get("x") or 0) == pytest.approx(float(half.get("x") or 0), abs=0.2)


def test_a_long_run_is_drawn_in_few_intervals_that_hide_no_stall() -> None:
    moments = [
        Moment(at_s=float(at), width_s=1.0, asked=2, answered=1, ttft_p50=9.0, ttft_p95=9.0)
        for at in range(3600)
    ]
    moments[1234] = msgspec.structs.replace(moments[1234], ttft_p95=5000.0)
    moments[2000] = msgspec.structs.replace(moments[2000], ttft_p95="inf")
    rate, ttft, *_ = timeline(moments, Window(from_s=0, to_s=3600))
    assert len(rate.rows) - 1 == 150
    assert {row[1:4] for row in rate.rows[1:]} == {("2.00", "1.00", "0")}
    assert [row[2] for row in ttft.rows[1:] if row[2] != "9.00 ms"] == ["5.00 s", "∞"]


def test_sessions_that_are_answered_in_step_are_drawn_at_the_rate_they_are_answered() -> None:
    moments = tuple(
        Moment(at_s=n * 0.125, width_s=0.125, asked=16 * (n % 3 == 0), answered=16 * (n % 3 == 2))
        for n in range(64)
    )
    steady = Window(from_s=0.0, to_s=8.0)
    rates = [row[2] for row in timeline(moments, steady, 0.36)[0].rows[1:]]
    assert rates[:-1] == ["42.7"] * (len(rates) - 1)
    assert len(rates) == 21
    assert len(timeline(moments, steady)[0].rows) == 65
    assert len(timeline(moments, steady, 1e9)[0].rows) == 2


def test_a_sweep_leads_to_the_report_of_each_point() -> None:
    points = [(f"sessions={n}", result(turns=30 * n, ttft_ms=20.0 * n)) for n in (1, 4, 16)]
    text = sweep_page(points, ["a b/report.html", "javascript:alert(1)", "x"])
    links = [attributes["href"] for tag, attributes in check(text).tags if tag == "a"]
    assert links == ["./a%20b/report.html", "./javascript%3Aalert%281%29", "./x"]
    assert not re.search(r"https?://", text)
    drawn = [plot for plot in plots(text) if plot.get("role") == "img"]
    assert [len(list(plot.iter("circle"))) for plot in drawn] == [6, 6]
    labels = [each.text for each in drawn[0].iter("text") if each.get("class") == "label"]
    assert "sessions=16" in labels


def test_a_sweep_of_nothing_is_a_page_too() -> None:
    check(sweep_page([]))
    check(sweep_page([("all failed", result(turns=30, failing=1.0))]))


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink one takes minutes
    max_examples=25,
    deadline=None,
)
@given(structs(Result))
def test_any_result_is_a_sound_page(shown: Result) -> None:
    check(page(shown))
    check(sweep_page([("x", shown), ("y", RUN)], ["x", "y"]))


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (upto([97.0]), [0, 20, 40, 60, 80, 100]),
        (upto([0.0]), [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (spanning(1.0, 900.0), [1, 10, 100, 1000]),
        (Scale(0.0, 0.999, "quantile"), [0, 0.5, 0.9, 0.99, 0.999]),
        (Scale(0.0, 3600.0, "time"), [0, 600, 1200, 1800, 2400, 3000, 3600]),
        (Scale(0.0, 60.0, "time"), [0, 10, 20, 30, 40, 50, 60]),
    ],
)
def test_ticks_are_round(scale: Scale, ticks: list[float]) -> None:
    assert scale.ticks(6) == pytest.approx(ticks)


def test_a_scale_puts_each_further_nine_equally_far_and_keeps_to_its_ends() -> None:
    scale = Scale(0.0, 0.999, "quantile")
    assert [scale.at(share) for share in (0, 0.9, 0.99, 0.999, 1)] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1, 1]
    )
    assert [Scale(1, 100, "log").at(value) for value in (0, 1, 10, 1000)] == [0, 0, 0.5, 1]


def test_a_gap_interrupts_a_line_and_a_point_alone_is_a_dot() -> None:
    plot = Plot(Scale(0, 4), Scale(0, 1))
    plot.line([(0, 0), (1, 1), None, (3, 1)], "c1")
    drawn = ET.fromstring(
        plot.svg(name="a", title="", described="", x_label="", x_text=str, y_text=str)
    )
    (path,) = (each for each in drawn.iter("path") if each.get("class") == "line c1")
    assert (path.get("d") or "").count("M") == 2
    assert len(list(drawn.iter("circle"))) == 1


def luminance(colour: str) -> float:
    """Return the relative luminance (https://www.w3.org/TR/WCAG21/#dfn-relative-luminance)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_stand_out(theme: dict[str, str]) -> None:
    assert theme.keys() == LIGHT.keys()
    for ground in ("page", "panel", "shade"):
        for ink in ("text", "muted", "link", "good", "bad", "warn"):
            assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)
        for ink in SERIES:
            assert contrast(theme[ink], theme[ground]) >= 3, (ink, ground)


def test_a_metric_without_a_histogram_is_not_drawn() -> None:
    figure = percentiles("x", "X", [("c1", "all", Metric(count=3, p50=1.0))])
    assert (figure.svg, figure.empty) == ("", "No turn was answered.")
