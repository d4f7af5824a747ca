"""Distance: links with delay and loss, by netem where the kernel has it, else by the delay line."""

from __future__ import annotations

import functools
import json
import select
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

from topologies.plan import LinkPlan, Plan

REPOSITORY = Path(__file__).resolve().parent.parent
ANSWER_SECONDS = 10.0
"""After which a delay line hangs. It answers in a millisecond."""

_NETEM_TRIAL = "unshare --net tc qdisc add dev lo root netem delay 1ms"


class Means(StrEnum):
    """What delays the packets of a network: the field `delay` of a run's metadata."""

    NONE = "none"
    NETEM = "netem"
    LINE = "delay-line"


def delay_caption(means: str) -> str:
    """Return what a figure says of its delayed links; empty where there are none.

    ``means`` is the field `delay` of the run's metadata.
    """
    if means == Means.NONE:
        return ""
    return "links delayed by " + {Means.LINE: "a userspace delay line"}.get(Means(means), means)


@functools.cache
def has_netem() -> bool:
    """Return whether this kernel delays packets itself, tried in a namespace of its own."""
    trial = subprocess.run(_NETEM_TRIAL.split(), capture_output=True, timeout=10, check=False)
    return trial.returncode == 0


def is_distant(link: LinkPlan) -> bool:
    """Return whether a link has delay or loss."""
    return link.delay_ms > 0 or link.loss > 0


def means_of(plan: Plan) -> Means:
    """Return what delays the packets of a plan's network on this machine."""
    if not any(is_distant(link) for link in plan.links):
        return Means.NONE
    return Means.NETEM if has_netem() else Means.LINE


class DelayLineError(RuntimeError):
    """The delay line refused a link, or ended and took its links along; one line."""


class DelayLine:
    """The process of ``topologies/delay_line.py``, started with its first link.

    It ends with the thread that started it, and by :meth:`stop`; its interfaces go with it.
    ``seed`` decides which frames are lost; set it before the first link.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.links: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process else None

    def add(
        self, name: str, ends: tuple[tuple[str, int, int], tuple[str, int, int]],
        delay_ms: float, loss: float,
    ) -> None:  # fmt: skip
        """Make a link; each end is (interface, its index, process id of its node).

        Raises DelayLineError.
        """
        if self._process is None:
            self._start()
        self.links.append(name)
        self._ask(
            {
                "ends": [{"name": n, "index": index, "pid": pid} for n, index, pid in ends],
                "delay_ns": round(delay_ms * 1e6),
                "loss": loss,
                "seed": str(self.seed),
            }
        )

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what became of the frames that came from each interface.

        What the device itself could not hold until it was read is in its own ``tx_dropped``.
        """
        answer: dict[str, dict[str, int]] = self._ask({}) if self._process else {}
        return answer

    def check_alive(self) -> None:
        """Raise DelayLineError when the process has ended."""
        if self._process is not None and (code := self._process.poll()) is not None:
            ending = f"signal {-code}" if code < 0 else f"exit code {code}"
            said = (self._process.stderr.read() if self._process.stderr else "").strip()
            raise DelayLineError(
                f"the delay line ended with {ending}, and these links are gone: "
                + ", ".join(self.links)
                + (f"; it said: {said.splitlines()[-1]}" if said else "")
            )

    def stop(self) -> None:
        """End the process; the next link starts another."""
        process, self._process = self._process, None  # first: this end is nobody's alarm
        if process is not None:
            process.kill()
            process.communicate()
        self.links.clear()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "topologies.delay_line"], cwd=REPOSITORY, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,  # see SixNode.spawn
        )  # fmt: skip

    def _ask(self, command: dict[str, Any]) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(command) + "\n")
        except BrokenPipeError:
            process.wait()
        if not select.select([process.stdout], [], [], ANSWER_SECONDS)[0]:
            raise DelayLineError(f"no answer from the delay line in {ANSWER_SECONDS:.0f} s")
        line = process.stdout.readline()
        if not line:
            process.wait()
            self.check_alive()
        answer = json.loads(line)
        if "error" in answer:
            raise DelayLineError(f"delay line: {answer['error']}")
        return answer
