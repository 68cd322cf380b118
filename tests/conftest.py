"""What every test shares: hypothesis judges what the code does, not how long this machine takes; and
no test looks for a collector where one of the person who runs it may listen.
"""

import pytest
from hypothesis import settings

from chatbot.telemetry import destination

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _nobody_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "SEARCHED", ())
