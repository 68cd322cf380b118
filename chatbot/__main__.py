"""`python -m chatbot`: the same program as `run.py` and the `chatbot` script."""

import sys

if __name__ == "__main__":
    from chatbot.cli import main

    sys.exit(main())
