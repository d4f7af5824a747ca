"""Runs in the sandbox: Figure 2 for tests (see tests/figure_1/server.py).

`python -m tests.figure_2.server FOLDER MODE`
"""

import sys
from pathlib import Path

from agents.config import Mode
from tests.figure_1.server import serve
from tests.figure_2.lab import Figure2

if __name__ == "__main__":
    serve(Figure2(Path(sys.argv[1]), Mode(sys.argv[2])))
