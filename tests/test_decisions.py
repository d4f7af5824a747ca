"""DECISIONS.md, the page for operators and the threat model name tests; they exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("page", ["agents/core/DECISIONS.md", "docs/anycast.md", "docs/threats.md"])
def test_named_tests_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"\btest_\w+\b", text))
    code = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    missing = {
        name
        for name in named
        if f"def {name}{'' if name.endswith('_') else '('}" not in code  # `test_d1_…`: a beginning
        and not (ROOT / "tests" / f"{name}.py").exists()
    }
    assert len(named) > 15
    assert not missing
