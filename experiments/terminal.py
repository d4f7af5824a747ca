"""What a run leaves on the terminal at its end: tables, and where its pictures are."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable

from experiments import owner
from experiments.data import SummaryRow
from experiments.run import RunFolder


def titled_table(title: str) -> TerminalTable:
    """Return an empty table that looks as all others do."""
    return TerminalTable(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def conclude(
    folder: RunFolder,
    console: Console,
    summary: Sequence[SummaryRow],
    *shown: TerminalTable | str,
) -> None:
    """Complete a run folder with its summary and plots; print tables and lines, and name the plots.

    Plots are made from the folder alone.
    """
    folder.summary(summary)
    folder.complete()
    from experiments.plots import plot  # 0.6 s that the process outside can do without

    names = plot(folder.path)
    for each in shown:
        console.print(each)
    for name in names:
        console.print(f"plot: {owner.short(folder.path)}/plots/{name}.png", soft_wrap=True)


def verdict(unexpected: Sequence[str]) -> list[str]:
    """Return the lines that say whether all was as the model says, and what was not."""
    if not unexpected:
        return ["everything as the model says"]
    return [f"[red]not as the model says: {line}" for line in unexpected]
