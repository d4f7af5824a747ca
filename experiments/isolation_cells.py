"""What the isolation experiment compares: who turns, what it says, how it is put out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.hostile_forgeries import Lie
from experiments.probes import Flow

MOBILE = "mn"
HOSTILE: Mapping[str, str] = {"secondary": "HA2", "primary": "HA1"}
"""Who turns, by its role before that: HA1 is nearest to the border, HA2 to cn2 alone."""

LAST = "HA3"
"""It serves nobody; under its sender id tunnel packets are forged. Under that of one that serves
they would silence it (see `make replay`), and what that loses would hide what isolation costs."""

FLOWS: Mapping[Flow, str] = {
    Flow(1, "cn1", MOBILE): "HA1",
    Flow(2, MOBILE, "cn1"): "HA1",
    Flow(3, "cn2", MOBILE): "HA2",
}
"""Honest flows, and the home agent that is nearest to each."""

PLAUSIBLE: Mapping[str, tuple[Lie, ...]] = {
    "secondary": (Lie.STRANGER,),
    "primary": (Lie.STRANGER, Lie.THEFT),
}
"""Lies that contradict nothing: nobody but the operator can know. A secondary that told of a newer
Binding Update would become primary, so it does not."""

PROVABLE: Mapping[str, tuple[Lie, ...]] = {
    "secondary": (Lie.SWITCH, Lie.KEY, Lie.SPI, Lie.THIRD_PARTY),
    "primary": (Lie.SPI, Lie.THIRD_PARTY),
}
"""Lies that contradict what others know, told where detection is the trigger. A primary may take
roles and make keys."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is compared."""

    role: str
    trigger: str
    fencing: str

    def __str__(self) -> str:
        """Return it as it stands in messages."""
        return f"{self.role}, {self.trigger}, fencing {self.fencing}"

    def columns(self, trial: int) -> dict[str, Any]:
        """Return what all rows of a trial have in common."""
        return {
            "trial": trial, "role": self.role, "trigger": self.trigger, "fencing": self.fencing
        }  # fmt: skip
