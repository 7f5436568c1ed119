"""`minigpt sample` as a file."""

import sys

from minigpt.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "sample")
    main()
