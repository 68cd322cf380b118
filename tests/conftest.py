"""What every test shares: hypothesis judges what the code does, not how long this machine takes."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
