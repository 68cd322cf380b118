"""Start chatbot from a checkout: `python run.py --help` shows what it can do."""

import sys

if __name__ == "__main__":  # child processes import this file again, and must not start the program
    from chatbot.cli import main

    sys.exit(main())
