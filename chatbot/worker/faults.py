"""What the exceptions of the HTTP library mean for a call.

The one question that matters behind them: was the request surely not sent ("unreachable", may be
tried again), or may a server have taken it?
"""

import ssl

import aiohttp

from chatbot.errors import CallError
from chatbot.wire.failures import one_line

# Everything the library is known to raise; an asyncio time-out is an OSError as well.
FOREIGN = (aiohttp.ClientError, OSError)


def translate(error: BaseException, *, is_gone: bool) -> CallError:
    """Return the error as one of ours; `is_gone`: where it refuses a
    connection, nobody is there who will take one soon."""
    said = one_line(str(error)) or type(error).__name__
    match error:
        case aiohttp.ConnectionTimeoutError():
            return CallError("unreachable", "no connection within the time limit")
        case aiohttp.ClientHttpProxyError():
            refusal = f"the proxy refused: {error.status} {one_line(error.message)}".rstrip()
            return CallError("unreachable", refusal, should_retry=False)
        case aiohttp.ClientProxyConnectionError():
            return CallError("unreachable", f"no connection to the proxy: {_reason(error)}")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return CallError("unreachable", _tls_reason(error), should_retry=False)
        case aiohttp.ClientConnectorError():
            # Where nobody listens on this machine, asking again in a second will not help.
            refused = isinstance(error.os_error, ConnectionRefusedError)
            hopeless = False if refused and is_gone else None
            return CallError("unreachable", _reason(error), should_retry=hopeless)
        case aiohttp.InvalidURL():
            return CallError("bad_request", said)
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return CallError("timeout", "no answer within the time limit")
        case aiohttp.ServerDisconnectedError():
            return CallError("connection_lost", "the server closed the connection")
        case aiohttp.ClientResponseError():
            return CallError("malformed", "this is not HTTP")
        case aiohttp.ClientPayloadError():
            return CallError("connection_lost", "the body was cut off")
        case ConnectionResetError():
            return CallError("connection_lost", "the connection was reset")
        case OSError() if error.strerror:
            return CallError("connection_lost", one_line(error.strerror).lower())
        case _:
            return CallError("connection_lost", said)


def _reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error.os_error, ConnectionRefusedError):
        return "connection refused"
    return one_line(error.os_error.strerror or str(error.os_error)).lower()


def _tls_reason(
    error: aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError,
) -> str:
    inner = (
        error.certificate_error
        if isinstance(error, aiohttp.ClientConnectorCertificateError)
        else error.os_error
    )
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {one_line(inner.verify_message)}"
    return "it does not speak TLS as it should"
