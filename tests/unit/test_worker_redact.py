"""Keys out of what others wrote."""

import pytest

from chatbot.backends import BACKENDS
from chatbot.settings import WorkerSettings
from chatbot.worker.redact import MASK, Redactor, redactor_for

KEY = "sk-proj-0123456789abcdef"


def test_every_known_secret_is_replaced_wherever_it_stands() -> None:
    redact = Redactor([KEY, "hunter2"])
    assert redact(f"a {KEY}, {KEY}x hunter2.") == f"a {MASK}, {MASK}x {MASK}."


@pytest.mark.parametrize("end", ["…", "", '"', ", and more"])
def test_a_secret_that_is_cut_off_is_replaced_too(end: str) -> None:
    assert Redactor([KEY])(f"your key {KEY[:15]}{end}") == f"your key {MASK}{end}"


def test_other_text_stays_as_it_is() -> None:
    assert Redactor([KEY])("sk-other and a proj") == "sk-other and a proj"
    assert Redactor([])("any") == "any"
    assert Redactor(["", "a"])("banana") == "banana"  # too short to be a secret


@pytest.mark.parametrize("proxy", ["http://me:p%40ssword@proxy:1", "me:p%40ssword@proxy:1"])
def test_the_settings_secrets_are_the_keys_and_the_proxies_passwords(proxy: str) -> None:
    backends = {b.name: b for b in BACKENDS}
    settings = WorkerSettings(backends, proxies={"https_proxy": proxy, "http_proxy": "http://["})
    assert redactor_for(settings)("p@ssword p%40ssword") == f"{MASK} {MASK}"
