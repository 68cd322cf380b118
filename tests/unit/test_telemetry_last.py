"""Last words: the sums of a process that was killed come into the metrics file, and no others do."""

import json
import os
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import MetricsData

from chatbot.messages import Measurement
from chatbot.telemetry.files import RotatingFile
from chatbot.telemetry.last import LastWords, MetricFile, adopt
from chatbot.telemetry.life import Life as Programs
from chatbot.telemetry.metrics import Meters
from chatbot.telemetry.resources import Resources

OWN = f"metrics.{os.getppid()}.last"
WORDS = '{"resourceMetrics":[]}\n'


def adopted(stream: RotatingFile) -> dict[str, str]:
    """Adopt as a program does that begins."""
    programs = Programs(stream.path.parent)
    try:
        return adopt(stream, programs)
    finally:
        programs.end()


class Life:
    """One telemetry process's metrics, from its birth on."""

    def __init__(self, directory: Path) -> None:
        self.stream = RotatingFile(directory / "metrics")
        self.exported: list[MetricsData] = []
        self.adopted = adopted(self.stream)
        self.meters = Meters(Resources({}).of_program(1))
        self.file = MetricFile(self.stream, 3_600_000, self.meters.collect, self.exported.append)

    def count(self, value: int) -> None:
        self.meters.add(Measurement("chatbot.retries", "counter", value))

    def killed(self) -> None:
        """Nothing more is written: what is in the files is all that is left."""
        self.stream.close()

    def ended(self) -> None:
        self.file.write()
        self.file.words.take_back()
        self.stream.close()


def total(path: Path) -> int:
    """Return the true total of the counter: its last values, over all start times."""
    last: dict[str, int] = defaultdict(int)
    for line in path.read_text().splitlines():
        for resource in json.loads(line)["resourceMetrics"]:
            for metric in resource["scopeMetrics"][0]["metrics"]:
                (point,) = metric["sum"]["dataPoints"]
                last[point["startTimeUnixNano"]] = int(point["asInt"])
    return sum(last.values())


def test_what_was_counted_before_a_kill_and_after_it_adds_up(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.count(5)
    assert first.file.keep(changed=True)
    first.killed()
    second = Life(tmp_path)
    assert second.adopted == {OWN: ""}
    second.count(2)
    assert second.file.keep(changed=True)
    second.killed()
    third = Life(tmp_path)
    third.count(1)
    third.ended()
    assert total(tmp_path / "metrics") == 8
    assert not list(tmp_path.glob("*.last*"))


def test_last_words_are_written_once_a_second_and_only_when_there_are_any(tmp_path: Path) -> None:
    life = Life(tmp_path)
    assert not life.file.keep(changed=False)
    assert not life.file.words.path.exists()
    life.count(1)
    assert life.file.keep(changed=True)
    life.count(2)
    assert not life.file.keep(changed=True)  # it is not time yet
    life.file._saved_at -= 1.0
    assert life.file.keep(changed=True)
    (metric,) = json.loads(life.file.words.path.read_text())["resourceMetrics"][0]["scopeMetrics"][
        0
    ]["metrics"]
    assert metric["sum"]["dataPoints"][0]["asInt"] == "3"
    assert (tmp_path / "metrics").read_text() == ""
    life.ended()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_last_words_are_for_their_owner_only(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.count(1)
    life.file.keep(changed=True)
    assert life.file.words.path.stat().st_mode & 0o777 == 0o600
    life.ended()


def test_exemplars_are_in_the_line_of_the_file_though_the_last_words_had_them(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path)
    traceparent = f"00-{7:032x}-{8:016x}-01"
    life.meters.add(Measurement("chatbot.queue.wait", "histogram", 1.0, {}, traceparent))
    life.file.keep(changed=True)
    words = life.file.words.path.read_text()
    life.ended()
    for text in (words, (tmp_path / "metrics").read_text()):
        assert f'"traceId":"{7:032x}"' in text


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_those_of_the_dead_are_adopted_and_those_of_the_living_left(tmp_path: Path) -> None:
    for name in ("metrics.1.last", "metrics.2.last", "metrics.3.last.tmp", "spans.4.last"):
        (tmp_path / name).write_text(WORDS)
    for name in ("metrics.1.last", "metrics.3.last.tmp", "spans.4.last"):
        age(tmp_path / name, 61)
    stream = RotatingFile(tmp_path / "metrics")
    assert adopted(stream) == {"metrics.1.last": ""}
    stream.close()
    assert (tmp_path / "metrics").read_text() == WORDS
    assert sorted(file.name for file in tmp_path.glob("*.last*")) == [
        "metrics.2.last",
        "spans.4.last",
    ]


@pytest.mark.parametrize("text", ["", "{}\n", '{"resourceMetrics":[]}', "no JSON\n", WORDS * 2])
def test_what_is_no_line_of_metrics_never_comes_into_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / OWN).write_text(text)
    stream = RotatingFile(tmp_path / "metrics")
    assert adopted(stream) == {}
    stream.close()
    assert (tmp_path / "metrics").read_text() == ""
    assert not (tmp_path / OWN).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_last_words_stay_where_they_are_while_the_disk_is_full(tmp_path: Path) -> None:
    (tmp_path / OWN).write_text(WORDS)
    (tmp_path / "metrics").symlink_to("/dev/full")
    stream = RotatingFile(tmp_path / "metrics")
    told = adopted(stream)
    stream.close()
    assert "No space left" in told[OWN]
    assert (tmp_path / OWN).read_text() == WORDS


def test_the_living_touch_theirs_and_write_them_again_when_they_were_taken(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.count(4)
    life.file.keep(changed=True)
    path = life.file.words.path
    age(path, 3600)
    before = path.stat().st_mtime
    life.file._saved_at -= 16.0
    life.file.keep(changed=False)
    assert path.stat().st_mtime > before + 3000
    path.unlink()
    life.file._saved_at -= 16.0
    life.file.keep(changed=False)
    assert '"asInt":"4"' in path.read_text()
    life.ended()


def test_words_that_the_disk_did_not_take_are_tried_again(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.count(3)
    in_the_way = life.file.words.path.with_name(life.file.words.path.name + ".tmp")
    in_the_way.mkdir()
    assert not life.file.keep(changed=True)
    assert not life.file.keep(changed=True)  # it is not time yet
    in_the_way.rmdir()
    life.file._saved_at -= 1.0
    assert life.file.keep(changed=True)
    assert '"asInt":"3"' in life.file.words.path.read_text()
    life.ended()


def test_a_reader_never_sees_a_part_of_them(tmp_path: Path) -> None:
    words = LastWords(tmp_path / "words")
    lines = [f"{number % 10}" * 100_000 + "\n" for number in range(200)]
    words.write(lines[0])
    words.flush()
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(words.path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for line in lines:
        words.write(line)
        words.flush()
    done.set()
    reader.join(30)
    assert seen <= set(lines)


def test_a_collector_hears_what_goes_into_the_file_and_no_last_words(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.count(1)
    life.file.keep(changed=True)
    assert life.exported == []
    life.ended()
    assert len(life.exported) == 1
