"""The operator's verbs about a home agent that turned, on the others' control sockets (rule 13)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from agents.runtime.agent import text_parameter
from agents.runtime.control import Command, CommandError
from agents.runtime.engine import HomeAgentEngine

Answer = TypeVar("Answer")


class IsolationCommands:
    """`isolate`, `readmit`, `revocations`, `load-secrets`."""

    def __init__(self, engine: HomeAgentEngine, carry_out: Callable[[float], None]) -> None:
        """`carry_out(now)` sends and does what a decision sets off."""
        self._engine = engine
        self._carry_out = carry_out

    def commands(self) -> dict[str, Command]:
        """Return the verbs by name."""
        return {
            "isolate": self._isolate,
            "readmit": self._readmit,
            "revocations": self._revocations,
            "load-secrets": self._load_secrets,
        }

    def _isolate(self, request: Mapping[str, Any], now: float) -> bool:
        """Put the home agent `name`, or of `index`, out for good; whether that is news."""
        index = request.get("index")
        if index is None:
            name = text_parameter(request, "name")
            known = (each["index"] for each in self._engine.peers() if each["name"] == name)
            index = next(known, None)
        if not isinstance(index, int):
            raise CommandError("name: no such peer; give its index")
        return self._judged(lambda: self._engine.isolate(index, "verb", now), now)

    def _readmit(self, request: Mapping[str, Any], now: float) -> str:
        """Let the home agent of `index` join again, in a later incarnation."""
        index = request.get("index")
        if not isinstance(index, int):
            raise CommandError('"index": give the index of a home agent that is isolated')
        self._judged(lambda: self._engine.readmit(index, now), now)
        return "readmitted"

    def _revocations(self, request: Mapping[str, Any], now: float) -> bool:
        """Take the revocation list in `path`, in DER; whether it is news."""
        path = Path(text_parameter(request, "path"))
        try:
            octets = path.read_bytes()
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from error
        return self._judged(lambda: self._engine.learn_revocations(octets, now), now)

    def _load_secrets(self, request: Mapping[str, Any], now: float) -> int:
        """Know mobile nodes by the pre-shared keys in `path`, in place of all others."""
        from agents.shared_secrets import read_secret_file

        def load() -> int:
            secrets = read_secret_file(Path(text_parameter(request, "path")))
            self._engine.load_secrets(secrets, now)
            return len(secrets)

        return self._judged(load, now)

    def _judged(self, verb: Callable[[], Answer], now: float) -> Answer:
        """Do what an operator decided, and what follows; raises `CommandError`."""
        try:
            answer = verb()
        except ValueError as error:
            raise CommandError(str(error)) from error
        self._carry_out(now)
        return answer
