"""DECISIONS.md names tests; they exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_named_tests_exist() -> None:
    text = (ROOT / "agents/core/DECISIONS.md").read_text()
    named = set(re.findall(r"\btest_\w+\b", text))
    code = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    missing = {
        name
        for name in named
        if f"def {name}{'' if name.endswith('_') else '('}" not in code  # `test_d1_…`: a beginning
        and not (ROOT / "tests" / f"{name}.py").exists()
    }
    assert len(named) > 20
    assert not missing
