"""What stands in the pipe before a request is sent."""

import asyncio
from typing import cast

from chatbot.mailbox import Outbox
from chatbot.messages import Call, Message, Report, Sending, Target
from chatbot.tracing import Recorder
from chatbot.worker.announcer import Announcer


def test_calls_of_one_turn_are_told_in_one_write_before_any_goes_on() -> None:
    said: list[tuple[str, ...]] = []

    class Pipe:
        def gather_offered(self, report: Report) -> bool:
            said.append((f"{report.records} records",))
            return True

        def send_now(self, *messages: Message) -> None:
            said.append(tuple(m.request_id for m in messages if isinstance(m, Sending)))

    async def make(request_id: str) -> None:
        span = recorder.span("call", parent=None).announce()
        await announcer.sending(Call(request_id, 1, "s", Target("openai", "m"), ()))
        said.append((f"{request_id} sent",))
        span.end()

    async def run() -> None:
        await asyncio.gather(*map(make, "abc"))
        await make("d")

    outbox = cast("Outbox", Pipe())
    recorder = Recorder("worker", 0, outbox.gather_offered)
    announcer = Announcer(outbox, recorder)
    asyncio.run(run())
    assert said[:2] == [("3 records",), ("a", "b", "c")]
    assert said[2:5] == [("a sent",), ("b sent",), ("c sent",)]
    assert said[-2:] == [("d",), ("d sent",)]


def test_a_call_that_is_cancelled_while_it_waits_leaves_the_others() -> None:
    said: list[Message] = []

    class Pipe:
        def gather_offered(self, report: Report) -> bool:
            del report
            return True

        def send_now(self, *messages: Message) -> None:
            said.extend(messages)

    async def run() -> list[BaseException | None]:
        calls = [Call(name, 1, "s", Target("openai", "m"), ()) for name in "ab"]
        tasks = [asyncio.ensure_future(announcer.sending(call)) for call in calls]
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        return await asyncio.gather(*tasks, return_exceptions=True)

    outbox = cast("Outbox", Pipe())
    announcer = Announcer(outbox, Recorder("worker", 0, outbox.gather_offered))
    first, second = asyncio.run(run())
    assert isinstance(first, asyncio.CancelledError)
    assert second is None
    assert said == [Sending("a", 1), Sending("b", 1)]
