"""``python -m kutter``: the same as the ``kutter`` command."""

import sys

from kutter.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
