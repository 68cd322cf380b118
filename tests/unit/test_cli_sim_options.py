"""The options of the simulated server, alone and as another program's group."""

import argparse
from pathlib import Path

import pytest

from chatbot.cli.sim_server import add_sim_options, run_sim_server, sim_settings
from chatbot.distribution import constant, parse
from chatbot.settings import SimServerSettings
from chatbot.simserver import process


def settings(*argv: str) -> SimServerSettings:
    parser = argparse.ArgumentParser()
    add_sim_options(parser)
    return sim_settings(parser.parse_args(argv))


def test_what_is_not_given_is_the_default() -> None:
    assert settings() == SimServerSettings()


def test_every_option_has_its_setting(tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.txt"
    sizes.write_text("1\n2\n4\n")
    given = settings(
        *("--first-token", "lognormal:50ms,0.5", "--inter-chunk", "exp:10ms", "--chunks", "32+-8"),
        *(
            "--tokens-per-chunk",
            f"file:{sizes}",
            "--reasoning",
            "uniform:0,9",
            "--prefill",
            "0.001",
        ),
        *("--slowdown", "0.5", "--max-running", "8", "--max-queue", "9", "--retry-after", "0.5"),
        *("--fault", "429:1%,stall:0.02", "--fault", "429:2%", "--server-seed", "7"),
    )
    assert given == SimServerSettings(
        first_token=parse("lognormal:50ms,0.5"),
        inter_chunk=parse("exp:10ms"),
        chunks=parse("32+-8", unit=""),
        tokens_per_chunk=parse("file:x", unit="", read=lambda _: "1\n2\n4\n"),
        reasoning=parse("uniform:0,9", unit=""),
        prefill_s=0.001,
        slowdown=0.5,
        max_running=8,
        max_queue=9,
        retry_after_s=0.5,
        faults={"429": 0.03, "stall": 0.02},
        seed=7,
    )


def test_alone_it_has_some_more_and_bare_numbers_are_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[SimServerSettings] = []

    def run_alone(settings: SimServerSettings) -> int:
        asked.append(settings)
        return 0

    monkeypatch.setattr(process, "run_alone", run_alone)
    assert (
        run_sim_server(
            ["--port", "9", "--first-token", "0.2", "--chunks", "4", "--seed", "3", "--truth"]
        )
        == 0
    )
    assert asked == [
        SimServerSettings(port=9, first_token=constant(0.2), chunks=constant(4), seed=3, truth=True)
    ]
