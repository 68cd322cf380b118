"""The history of a conversation, with a digest that grows with it: pure.

The digest stands for all that was said in the key of the answer cache. It is a chain, as in a
blockchain's headers: each message's digest covers the one before it, so that a turn costs the hashing
of what it adds, however long the conversation is.

    digest(n) = SHA-256(digest(n - 1) · MessagePack([role, content])),  digest(0) = 32 zero bytes
"""

from collections.abc import Iterable

import msgspec

from chatbot.messages import ChatMessage

DIGEST_OF_NOTHING = bytes(32)

_encoder = msgspec.msgpack.Encoder()


class History(msgspec.Struct, frozen=True):
    """What was said, and the digest of it."""

    messages: tuple[ChatMessage, ...] = ()
    digest: bytes = DIGEST_OF_NOTHING

    def followed_by(self, *messages: ChatMessage) -> "History":
        """Return the history with these messages at its end."""
        return History(self.messages + messages, extended(self.digest, messages))


def extended(digest: bytes, messages: Iterable[ChatMessage]) -> bytes:
    """Return the digest of a history that goes on with these messages."""
    import hashlib  # here: 6 ms, which the first prompt is not to wait for

    for message in messages:
        digest = hashlib.sha256(digest + _encoder.encode(message)).digest()
    return digest
