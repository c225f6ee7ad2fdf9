"""`python -m bertcpp`: the `bertcpp` command."""

import sys

from bertcpp.cli import main

if __name__ == "__main__":
    sys.exit(main())
