import signal

import pytest

from chatbot import host


@pytest.mark.parametrize("code", [-signal.SIGTERM, -signal.SIGINT, 0xC000013A])
def test_a_process_that_was_told_to_stop_is_known_by_its_exit_code(code: int) -> None:
    assert host.was_told_to_stop(code)


@pytest.mark.parametrize("code", [0, 1, 3, 70, -9, -11])
def test_any_other_end_is_not_one_that_somebody_wished(code: int) -> None:
    assert not host.was_told_to_stop(code)
