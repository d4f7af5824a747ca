"""Every figure in the README and in docs/results.md is one of `results/reference/`."""

import json
import re
from pathlib import Path

import pytest

from experiments import report


@pytest.mark.parametrize("page", report.PAGES, ids=lambda page: page.name)
def test_pages_quote_the_reference_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert report.renewed(text, report.PAGES[page]) == text, (
        "run `python -m experiments.report --write`"
    )


def test_every_block_stands_on_a_page() -> None:
    assert sorted(name for names in report.PAGES.values() for name in names) == sorted(
        report.blocks()
    )


@pytest.mark.parametrize("page", report.PAGES, ids=lambda page: page.name)
def test_pages_show_pictures_and_name_files_that_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert any(target.endswith(".png") for target in targets)
    for target in targets:
        assert (page.parent / target).exists(), target


def test_reference_folders_are_whole_and_come_from_this_tree() -> None:
    for name in (
        "failover", "failover-multi_as", "failover-bgp_default", "throughput", "renewal",
        "replay", "metric", "synchronisation", "hijack", "catchment", "optimisation", "multi_hoa",
        "isolation", "siege",
    ):  # fmt: skip
        meta = json.loads((report.REFERENCE / name / "meta.json").read_text())
        assert meta["state"] == "complete"
        assert meta["experiment"] == name.partition("-")[0]
        summary = json.loads((report.REFERENCE / name / "summary.json").read_text())
        assert all(row["n"] >= 1 for row in summary)


def test_missing_marker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "blocks", lambda: {"failover": "x\n"})
    with pytest.raises(ValueError, match="failover: begin"):
        report.renewed("# nothing here\n", ["failover"])


@pytest.mark.parametrize("folder", ["failover", "failover-multi_as"])
def test_what_the_pages_say_of_every_failover_is_so(folder: str) -> None:
    summary = json.loads((report.REFERENCE / folder / "summary.json").read_text())
    for metric in ("signalling", "bystander_lost", "failback_lost"):
        rows = [row for row in summary if row["metric"] == metric]
        assert rows
        assert all(row["max"] == 0 for row in rows)


def test_what_the_readme_says_of_replays_is_so() -> None:
    summary = json.loads((report.REFERENCE / "replay" / "summary.json").read_text())
    unexpected = [row for row in summary if row["metric"] == "unexpected"]
    assert {row["conditions"]["mode"] for row in unexpected} == {
        "draft-no-origin", "draft", "draft-cbc", "hardened",
    }  # fmt: skip
    assert all(row["max"] == 0 for row in unexpected)
    rows = {(row["metric"], *row["conditions"].values()): row for row in summary}
    for mode in ("draft", "draft-cbc", "hardened"):
        row = rows["replays_accepted", mode, "new-primary", "up"]
        assert row["max"] <= row["target"]
    control = ("draft-no-origin", "new-primary", "up")
    accepted, injected = (
        rows[metric, *control] for metric in ("replays_accepted_without_floors", "replays_injected")
    )
    assert accepted["min"] * 2 == injected["min"], "all of the first try, none of the second"


def test_what_the_readme_says_of_renewals_is_so() -> None:
    summary = json.loads((report.REFERENCE / "renewal" / "summary.json").read_text())
    lost = [row for row in summary if row["metric"] == "lost"]
    assert {(row["conditions"]["mode"], row["conditions"]["cause"]) for row in lost} == {
        ("hardened", "asked"), ("hardened", "new-primary"), ("hardened", "numbers"),
        ("draft", "asked"), ("draft", "numbers"),
    }  # fmt: skip
    assert all(row["max"] == 0 for row in lost)
    assert all(row["max"] == 0 for row in summary if row["metric"] == "failover_ike")
