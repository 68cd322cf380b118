"""Takes this worker's keys out of text that others wrote: a server may echo what it was sent. Pure."""

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from chatbot.settings import WorkerSettings

MASK = "[redacted]"

_SHORTEST = 6  # anything shorter is no secret, and would tear holes into ordinary text
_TELLING = 12  # a cut key still begins like one: so many characters give it away


class Redactor:
    """Replaces known secrets, also where the text breaks off in the middle of one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        patterns = []
        for secret in sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True):
            patterns.append(re.escape(secret))
            if len(secret) > _TELLING:
                patterns.append(re.escape(secret[:_TELLING]) + r"""[^\s"'<>,;…]*""")
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        return self._pattern.sub(MASK, text) if self._pattern else text


def redactor_for(settings: WorkerSettings) -> Redactor:
    """Return the redactor that knows the API keys and the proxies' passwords."""
    secrets = [backend.api_key for backend in settings.backends.values()]
    for proxy in settings.proxies.values():
        try:
            password = urlsplit(proxy if "://" in proxy else f"http://{proxy}").password or ""
        except ValueError:  # no address at all: the client refuses it when it is to be used
            password = ""
        secrets += [password, unquote(password)]
    return Redactor(secrets)
