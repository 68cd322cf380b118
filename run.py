"""Start chatbot from a checkout: `python run.py --help` shows what it can do."""

import sys

if __name__ == "__main__":  # child processes import this file again, and must not start the program
    try:
        from chatbot.cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main())
