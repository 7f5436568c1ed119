"""`minigpt train` as a file, for `torchrun --nproc-per-node 2 scripts/train.py CONFIG`."""

import sys

from minigpt.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
