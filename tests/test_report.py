"""Every figure in the README is one of `results/reference/`."""

import json

import pytest

from experiments import report


def test_readme_quotes_the_reference_results() -> None:
    text = report.README.read_text(encoding="utf-8")
    assert report.renewed(text) == text, "run `python -m experiments.report --write`"


def test_readme_shows_pictures_that_exist() -> None:
    text = report.README.read_text(encoding="utf-8")
    pictures = [part.split(")")[0] for part in text.split("](results/reference/")[1:]]
    assert pictures
    for each in pictures:
        assert (report.REFERENCE / each).is_file(), each


def test_reference_folders_are_whole_and_come_from_this_tree() -> None:
    for name in ("failover", "throughput", "renewal"):
        meta = json.loads((report.REFERENCE / name / "meta.json").read_text())
        assert meta["state"] == "complete"
        assert meta["experiment"] == name
        summary = json.loads((report.REFERENCE / name / "summary.json").read_text())
        assert all(row["n"] >= 1 for row in summary)


def test_missing_marker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "blocks", lambda: {"failover": "x\n"})
    with pytest.raises(ValueError, match="failover: begin"):
        report.renewed("# nothing here\n")


def test_what_the_readme_says_of_every_failover_is_so() -> None:
    summary = json.loads((report.REFERENCE / "failover" / "summary.json").read_text())
    for metric in ("signalling", "bystander_lost", "failback_lost"):
        rows = [row for row in summary if row["metric"] == metric]
        assert rows
        assert all(row["max"] == 0 for row in rows)


def test_what_the_readme_says_of_renewals_is_so() -> None:
    summary = json.loads((report.REFERENCE / "renewal" / "summary.json").read_text())
    lost = [row for row in summary if row["metric"] == "lost"]
    assert {(row["conditions"]["mode"], row["conditions"]["cause"]) for row in lost} == {
        ("hardened", "asked"), ("hardened", "new-primary"), ("hardened", "numbers"),
        ("draft", "asked"), ("draft", "numbers"),
    }  # fmt: skip
    assert all(row["max"] == 0 for row in lost)
    assert all(row["max"] == 0 for row in summary if row["metric"] == "failover_ike")
