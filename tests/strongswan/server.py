"""Runs in the sandbox: `python -m tests.strongswan.server FOLDER MODE`.

It calls test functions by name until its input ends; see tests/figure_1/server.py.
"""

import sys

from tests.figure_1.server import serve
from tests.strongswan.lab import Lab

if __name__ == "__main__":
    serve(Lab(sys.argv[2]))
