"""One Ctrl-C, told from two, although the supervisor passes each on."""

from chatbot.ui.terminal import Keys


def test_what_the_supervisor_passes_on_is_the_key_that_was_had_already() -> None:
    keys = Keys()
    keys.pressed(10.0)
    assert keys.is_echo(11.5)


def test_a_key_that_only_the_supervisor_had_counts() -> None:
    keys = Keys()
    assert not keys.is_echo(10.0)


def test_two_keys_have_two_echoes_in_any_order() -> None:
    keys = Keys()
    keys.pressed(10.0)
    keys.pressed(10.2)
    assert keys.is_echo(10.3)
    assert keys.is_echo(10.3)
    assert not keys.is_echo(10.3)


def test_an_echo_does_not_come_that_late() -> None:
    keys = Keys()
    keys.pressed(10.0)
    assert not keys.is_echo(12.1)
