"""Figure 2, two home ASes: source checks, packet sizes, route damping (docs/anycast.md)."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.emulation


def test_source_checks_sizes_and_damping_between_ases(sandbox: Callable[..., Any]) -> None:
    done = sandbox([sys.executable, "-m", "tests.multi_as_operators"], timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("strict", "feasible", "loose", "sizes", "damping"):
        assert f"{part}: as it should be" in done.stdout
