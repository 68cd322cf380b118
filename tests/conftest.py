"""What every test shares: hypothesis judges what the code does, not how long this machine takes; and
no test looks for a collector where one of the person who runs it may listen, nor heeds the variables
of OpenTelemetry that the person has set.
"""

import os

import pytest
from hypothesis import settings

from chatbot.telemetry import destination

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Here and not in a fixture: modules and fixtures of a wider scope come before those of a test.
for name in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[name]


@pytest.fixture(autouse=True)
def _nobody_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "SEARCHED", ())
