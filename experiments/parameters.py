"""What a user may set, read from the environment or argv: `make failover TRIALS=5`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class ParameterError(ValueError):
    """A parameter that does not exist or cannot be: one line, and exit code 2."""


NAMES: Mapping[str, str] = {
    "TRIALS": "trials a cell (a whole number from 1)",
    "SEED": "of all randomness (a whole number)",
    "QUICK": "1: as few trials as show something, under 4 minutes",
    "CAPTURE": "1: keep packet captures in the run folder",
    "TOPO": "topology",
    "SET": "'key=value …', settings of the topology",
    "FAULT": "comma list that narrows the faults",
    "DETECTION": "comma list that narrows the detection settings",
    "SCHEME": "comma list that narrows the schemes",
}
IGNORED = frozenset({"ARGS"})


@dataclass(frozen=True, slots=True)
class Known:
    """What an experiment knows: the values of each list, its defaults, and the keys of SET.

    `settings` turns the text of each key into its value; ValueError says what is wrong with it.
    `sizes` has the same for keys that one topology has and another has not. `lists_of` replaces
    lists for a topology; what is in `on_request` there runs only when it is asked for by name.
    """

    topologies: tuple[str, ...]
    trials: int
    quick_trials: int
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, Callable[[str], Any]]] = field(default_factory=dict)
    lists_of: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    on_request: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def choices(self, topology: str, name: str) -> tuple[str, ...]:
        """Return the values of a list that are known for a topology."""
        return self.lists_of.get(topology, {}).get(name, self.lists[name])

    def defaults(self, topology: str, name: str) -> tuple[str, ...]:
        """Return what runs of a list when nothing is asked for."""
        apart = self.on_request.get(topology, frozenset())
        return tuple(value for value in self.choices(topology, name) if value not in apart)

    def settings_of(self, topology: str) -> dict[str, Callable[[str], Any]]:
        """Return the keys of SET for a topology: those of its size come first."""
        return {**self.sizes.get(topology, {}), **self.settings}


@dataclass(frozen=True, slots=True)
class Parameters:
    """Checked parameters. `chosen` has a tuple for each list, `given` what was not left out."""

    trials: int
    seed: int
    quick: bool
    capture: bool
    topology: str
    settings: Mapping[str, Any]
    chosen: Mapping[str, tuple[str, ...]]
    given: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """Return the parameters as `meta.json` keeps them."""
        return {
            "trials": self.trials,
            "seed": self.seed,
            "quick": self.quick,
            "capture": self.capture,
            "topology": self.topology,
            "set": dict(self.settings),
            **{name.lower(): list(values) for name, values in self.chosen.items()},
        }


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return what reads a whole number of a range."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError(f"wants a whole number from {least} to {most}")
        return int(text)

    return read


def positive(text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise ValueError("wants a number above 0")
    return value


def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """Return what reads one of these names."""
    known = tuple(names)

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"unknown; known: {', '.join(known)}")
        return text

    return read


def several_of(names: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return what reads a comma list of these names, in the order in which they are known."""
    known = tuple(names)

    def read(text: str) -> tuple[str, ...]:
        asked = [word.strip() for word in text.split(",")]
        for word in asked:
            if word not in known:
                raise ValueError(f"{word!r} is unknown; known: {', '.join(known)}")
        return tuple(word for word in known if word in asked)

    return read


def parse(
    known: Known, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Parameters:
    """Read `NAME=value` arguments over environment variables; ParameterError in one line."""
    values = _collect(known, arguments, os.environ if environment is None else environment)
    quick = _flag(values, "QUICK")
    default = known.quick_trials if quick else known.trials
    topology = _choose(values, "TOPO", known.topologies, known.topologies[:1])[0]
    return Parameters(
        trials=_number(values, "TRIALS", default, least=1),
        seed=_number(values, "SEED", 1, least=0),
        quick=quick,
        capture=_flag(values, "CAPTURE"),
        topology=topology,
        settings=_settings(values.get("SET", ""), known.settings_of(topology)),
        chosen={
            name: _choose(
                values, name, known.choices(topology, name), known.defaults(topology, name)
            )
            for name in known.lists
        },
        given=frozenset(values),
    )


def _collect(
    known: Known, arguments: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    usable = [n for n in NAMES if n in known.lists or n not in ("FAULT", "DETECTION", "SCHEME")]
    values = {name: environment[name] for name in NAMES if environment.get(name)}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or name not in NAMES:
            raise ParameterError(f"unknown parameter {argument!r}; known: {', '.join(usable)}")
        values[name] = value
    for name in values:
        if name not in usable:
            raise ParameterError(f"{name} means nothing here; known: {', '.join(usable)}")
    return {name: value.strip() for name, value in values.items() if value.strip()}


def _number(values: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ParameterError(f"{name}={text}: wants a whole number from {least} on")
    return int(text)


def _flag(values: Mapping[str, str], name: str) -> bool:
    text = values.get(name, "0")
    if text not in ("0", "1"):
        raise ParameterError(f"{name}={text}: wants 0 or 1")
    return text == "1"


def _choose(
    values: Mapping[str, str], name: str, known: Sequence[str], default: Sequence[str]
) -> tuple[str, ...]:
    """Return the chosen values of a comma list in the order in which they are known."""
    text = values.get(name)
    if text is None:
        return tuple(default)
    asked = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in asked if word not in known]
    if unknown or not asked:
        wrong = unknown[0] if unknown else text
        raise ParameterError(f"{name}={wrong}: unknown; known: {', '.join(known)}")
    return tuple(word for word in known if word in asked)


def _settings(text: str, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ParameterError(f"SET={text!r}: {error}") from None
    settings: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ParameterError(f"SET: {word!r} is not key=value")
        if key not in known:
            raise ParameterError(f"SET: unknown key {key!r}; known: {', '.join(known) or 'none'}")
        try:
            settings[key] = known[key](value)
        except ValueError as error:
            raise ParameterError(f"SET: {key}={value}: {error}") from None
    return settings
