"""The seams of `otel-config/`: what one file says of a port, a path, a field or a metric, another one
must say, too. No collector is started here; the names are those that a collector 0.159 made."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chatbot.instruments import DECLARED
from chatbot.messages import LogRecord
from chatbot.settings import LOG_FILE, METRIC_FILE, SPAN_FILE, TRACE_LOG_FILE
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.logs import LogFile

CONFIG = Path(__file__).resolve().parents[2] / "otel-config"

# What the Prometheus exporter makes of a unit; one in braces is left out.
UNITS = {"ms": "milliseconds", "s": "seconds", "By": "bytes"}


def parse(name: str) -> Any:
    return yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def collector() -> Any:
    return parse("otel-config.yaml")


@pytest.fixture(scope="module")
def services() -> Any:
    return parse("compose.yaml")["services"]


def resolved(value: str, environ: dict[str, str]) -> str:
    """Put in the variables as the collector does: `${env:NAME:-default}`."""

    def of(found: re.Match[str]) -> str:
        return environ.get(found[1], found[2])

    return re.sub(r"\$\{env:(\w+):-([^}]*)\}", of, value)


def listens(collector: Any) -> list[str]:
    """Return every address that the collector listens on."""
    protocols = collector["receivers"]["otlp"]["protocols"]
    endpoints = [protocol["endpoint"] for protocol in protocols.values()]
    return [*endpoints, collector["exporters"]["prometheus"]["endpoint"]]


def test_the_collector_takes_otlp_where_the_program_looks_for_it(collector: Any) -> None:
    protocols = collector["receivers"]["otlp"]["protocols"]
    assert resolved(protocols["grpc"]["endpoint"], {}) == "127.0.0.1:4317"
    assert resolved(protocols["http"]["endpoint"], {}) == "127.0.0.1:4318"


def test_without_docker_no_port_has_two_owners_and_none_is_open_to_the_network(
    collector: Any,
) -> None:
    addresses = [resolved(address, {}) for address in listens(collector)]
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    jaeger = resolved(collector["exporters"]["otlp_grpc/jaeger"]["endpoint"], {})
    ports = [address.rpartition(":")[2] for address in (*addresses, jaeger)]
    assert sorted(ports) == ["14317", "4317", "4318", "8889"]
    # Its own metrics would be on 8888, where Jaeger's are.
    assert collector["service"]["telemetry"]["metrics"]["level"] == "none"


def test_the_containers_publish_each_port_once_and_on_loopback_only(services: Any) -> None:
    published = {
        name: [entry.split(":") for entry in service["ports"]] for name, service in services.items()
    }
    assert all(host == "127.0.0.1" for entries in published.values() for host, *_ in entries)
    assert {name: [port for _, port, _ in entries] for name, entries in published.items()} == {
        "collector": ["4317", "4318", "8889"],
        "jaeger": ["16686"],
        "prometheus": ["9090"],
        "grafana": ["3000"],
    }
    for entries in published.values():
        assert all(outside == inside for _, outside, inside in entries)


def test_every_image_is_pinned_and_the_collector_is_the_contrib_one(services: Any) -> None:
    for service in services.values():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
    assert services["collector"]["image"].startswith("otel/opentelemetry-collector-contrib:")


def test_the_collector_in_its_container_reads_and_writes_the_log_directory_as_its_owner(
    collector: Any, services: Any
) -> None:
    container = services["collector"]
    environ = container["environment"]
    assert container["user"] == "${HOST_UID:-1000}:${HOST_GID:-1000}"
    mounted = dict(entry.split(":")[1::-1] for entry in container["volumes"])
    assert (CONFIG / mounted[environ["LOG_DIR"]]).resolve() == CONFIG.parent / "logs"
    (config,) = container["command"]
    assert mounted[config.removeprefix("--config=")] == "./otel-config.yaml"
    assert environ["LISTEN"] == "0.0.0.0"
    for address in listens(collector):
        port = address.rpartition(":")[2]
        assert f"127.0.0.1:{port}:{port}" in container["ports"]
    for path in (*collector["receivers"]["file_log"]["include"], *outputs(collector)):
        assert resolved(path, environ).startswith("/logs/")


def test_containers_reach_each_other_by_names_that_exist(collector: Any, services: Any) -> None:
    jaeger = resolved(
        collector["exporters"]["otlp_grpc/jaeger"]["endpoint"], services["collector"]["environment"]
    )
    (scraped,) = targets("prometheus-compose.yml")
    grafana = services["grafana"]["environment"]
    assert (jaeger, scraped) == ("jaeger:4317", "collector:8889")
    assert grafana["PROMETHEUS_URL"] == "http://prometheus:9090"
    assert grafana["JAEGER_URL"] == "http://jaeger:16686"
    assert {"jaeger", "collector", "prometheus"} <= services.keys()
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()


def test_every_file_that_is_mounted_is_there(services: Any) -> None:
    for service in services.values():
        for entry in service.get("volumes", ()):
            assert (CONFIG / entry.split(":")[0]).exists()


def outputs(collector: Any) -> list[str]:
    """Return the paths that the collector writes."""
    return [
        exporter["path"]
        for name, exporter in collector["exporters"].items()
        if name.startswith("file/")
    ]


def test_the_collector_reads_the_programs_log_alone_and_writes_files_of_its_own(
    collector: Any,
) -> None:
    directory = "${env:LOG_DIR:-./logs}"
    assert collector["receivers"]["file_log"]["include"] == [f"{directory}/{LOG_FILE}"]
    assert sorted(outputs(collector)) == [
        f"{directory}/extrachat.logs",
        f"{directory}/extrachat_metrics.logs",
        f"{directory}/extrachat_traces.logs",
    ]
    ours = {LOG_FILE, SPAN_FILE, METRIC_FILE, TRACE_LOG_FILE}
    assert not ours & {Path(path).name for path in outputs(collector)}
    for name, exporter in collector["exporters"].items():
        if name.startswith("file/"):  # without it the file is emptied at every start
            assert exporter["rotation"] == {"max_megabytes": 10, "max_backups": 3}


def test_each_log_line_is_written_once(collector: Any) -> None:
    pipelines = collector["service"]["pipelines"]
    writers = [
        pipeline["receivers"]
        for pipeline in pipelines.values()
        if "file/logs" in pipeline["exporters"]
    ]
    assert writers == [["file_log"]]
    assert pipelines["logs/otlp"] == {"receivers": ["otlp"], "exporters": ["nop"]}


def test_every_part_that_is_declared_is_used_and_every_one_used_is_declared(
    collector: Any,
) -> None:
    pipelines = collector["service"]["pipelines"].values()
    for part in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines for name in pipeline.get(part, ())}
        assert used == collector[part].keys()
    assert set(collector["service"]["extensions"]) == collector["extensions"].keys()
    assert collector["receivers"]["file_log"]["storage"] in collector["extensions"]


def test_the_log_fields_that_the_collector_parses_are_those_of_a_line(
    collector: Any, tmp_path: Path
) -> None:
    stream = RotatingFile(tmp_path / LOG_FILE)
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    record = LogRecord(1_795_341_069_278_070_999, "warning", "happened", traceparent, {"n": 1})
    LogFile(stream, 1, debug=False).add(record, "worker", 2)
    stream.close()
    line = json.loads((tmp_path / LOG_FILE).read_text(encoding="utf-8"))
    operators = collector["receivers"]["file_log"]["operators"]
    named = set(re.findall(r"attributes\.(\w+)", json.dumps(operators)))
    assert named == {"timestamp", "level", "trace_id", "span_id", "event", "process"}
    assert named < line.keys()
    # The layout is Go's for the time that the line has: microseconds, and Z for UTC.
    parsed = operators[0]["timestamp"]
    assert (parsed["layout_type"], parsed["layout"]) == (
        "gotime",
        "2006-01-02T15:04:05.999999Z07:00",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])


def targets(name: str) -> list[str]:
    (job,) = parse(name)["scrape_configs"]
    return [target for group in job["static_configs"] for target in group["targets"]]


def test_prometheus_scrapes_the_collector_and_keeps_the_labels_it_sets() -> None:
    alone, together = parse("prometheus.yml"), parse("prometheus-compose.yml")
    assert targets("prometheus.yml") == ["localhost:8889"]
    assert alone["scrape_configs"][0]["honor_labels"] is True
    together["scrape_configs"][0]["static_configs"] = alone["scrape_configs"][0]["static_configs"]
    assert alone == together


def dashboard() -> Any:
    return json.loads((CONFIG / "grafana/dashboards/chatbot.json").read_text(encoding="utf-8"))


def test_the_dashboard_asks_the_data_sources_that_are_provisioned() -> None:
    sources = parse("grafana/provisioning/datasources/chatbot.yaml")["datasources"]
    by_uid = {source["uid"]: source["type"] for source in sources}
    assert by_uid == {"prometheus": "prometheus", "jaeger": "jaeger"}
    for panel in dashboard()["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
    (prometheus,) = [source for source in sources if source["uid"] == "prometheus"]
    (exemplar,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplar == {"name": "trace_id", "datasourceUid": "jaeger"}
    (provider,) = parse("grafana/provisioning/dashboards/chatbot.yaml")["providers"]
    assert provider["options"]["path"] == "${DASHBOARDS}"


def exported(name: str, unit: str, instrument: str) -> str:
    """Return a metric's name as the collector's Prometheus exporter makes it.

    https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/: parts of the
    name that are not allowed become `_`, the unit is appended where the name does not have it, and
    `_total` ends the name of a counter, wherever it stood before.
    """
    parts = [part for part in re.split(r"[^a-zA-Z0-9:]+", name) if part]
    suffix = UNITS.get(unit, "") if not unit.startswith("{") else ""
    if suffix and suffix not in parts:
        parts.append(suffix)
    if instrument == "counter":
        parts = [*(part for part in parts if part != "total"), "total"]
    return "_".join(parts)


@pytest.mark.parametrize(
    ("name", "unit", "instrument", "seen"),
    [
        (
            "http.client.request.duration",
            "ms",
            "histogram",
            "http_client_request_duration_milliseconds",
        ),
        ("gen_ai.client.token.usage", "{token}", "histogram", "gen_ai_client_token_usage"),
        ("chatbot.cache.lookups", "{lookup}", "counter", "chatbot_cache_lookups_total"),
        ("llm.usage.total_tokens", "{token}", "counter", "llm_usage_tokens_total"),
        ("chatbot.queue.depth", "{message}", "gauge", "chatbot_queue_depth"),
    ],
)  # as they stood on a collector's port 8889
def test_the_rule_gives_the_names_that_a_collector_gave(
    name: str, unit: str, instrument: str, seen: str
) -> None:
    assert exported(name, unit, instrument) == seen


def queries() -> Iterator[tuple[str, str]]:
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_the_dashboard_shows_only_what_is_measured() -> None:
    known: set[str] = set()
    for name, kind in DECLARED.items():
        base = exported(name, kind.unit, kind.instrument)
        if kind.instrument == "histogram":
            known |= {f"{base}_{part}" for part in ("bucket", "sum", "count")}
        else:
            known.add(base)
    for title, query in queries():
        inside = re.sub(r"\b(?:by|without) \([^)]*\)|\[[^]]*\]|\{[^}]*\}", "", query)
        named = set(re.findall(r"[a-z_]{12,}", inside)) - {"histogram_quantile"}
        assert named, title
        assert named <= known, title


def test_the_dashboard_has_a_panel_for_each_thing_to_look_at() -> None:
    text = " ".join(query for _, query in queries())
    for metric in (
        *("http_client_request_duration_milliseconds_count", "chatbot_queue_depth"),
        *("http_client_request_duration_milliseconds_bucket", "chatbot_queue_wait_milliseconds"),
        *("gen_ai_client_token_usage_sum", "chatbot_store_commit_duration_milliseconds"),
        *("gen_ai_client_operation_time_to_first_chunk_seconds", "chatbot_cache_lookups_total"),
        *("chatbot_process_restarts_total", "chatbot_retries_total"),
        "chatbot_telemetry_dropped_total",
    ):
        assert metric in text
    places = [tuple(panel["gridPos"].values()) for panel in dashboard()["panels"]]
    assert len(set(places)) == len(places)
