"""The real program with the load in the UI's seat: `python -m benchmarks.telemetry.program`."""

import os
import sys
from typing import Any


def main() -> int:
    """Run it in the current directory; return its exit code."""
    import msgspec

    from chatbot.distribution import constant
    from chatbot.settings import Arguments, SimServerSettings, load
    from chatbot.supervisor import plan, process

    seated = plan.ui

    def ui(settings: Any) -> Any:
        spec = seated(settings)
        child = msgspec.structs.replace(spec.child, module="benchmarks.telemetry.seat")
        return msgspec.structs.replace(spec, child=child)

    plan.ui = ui
    server = SimServerSettings(first_token=constant(0.0), inter_chunk=constant(0.0))
    arguments = Arguments(mode="chat", backend="sim", model="sim", workers=1, sim_server=server)
    return process.run(load(arguments, os.environ))


if __name__ == "__main__":  # child processes import this file again, and must not start the program
    sys.exit(main())
