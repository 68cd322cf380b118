"""The real program with the fan in the UI's seat: `python -m tests.system.fan.run`."""

import os
import sys
from typing import Any


def main() -> int:
    """Run it in the current directory; return its exit code."""
    import msgspec

    from chatbot.settings import Arguments, load
    from chatbot.supervisor import plan, process
    from tests.system.fan.seat import DATABASE

    seated = plan.ui

    def ui(settings: Any) -> Any:
        spec = seated(settings)
        child = msgspec.structs.replace(spec.child, module="tests.system.fan.seat")
        return msgspec.structs.replace(spec, child=child)

    plan.ui = ui
    arguments = Arguments(mode="chat", backend="sim", workers=1, db=DATABASE)
    return process.run(load(arguments, os.environ))


if __name__ == "__main__":  # child processes import this file again, and must not start the program
    sys.exit(main())
