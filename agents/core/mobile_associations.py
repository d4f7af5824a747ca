"""The mobile node's SAs: from key files or key exchange, generation after generation (rule 9)."""

from collections.abc import Callable, Collection, Iterable

from agents.config import ConfigError, MobileNodeConfig
from agents.core.events import Event
from agents.core.generations import Generations
from agents.core.mobile_events import KeysRenewed, KeysSwitched
from agents.core.mobile_senders import choose_senders
from agents.core.security_associations import (
    SaState,
    SecurityAssociation,
    SecurityAssociationDatabase,
)
from agents.core.timers import TimerQueue
from agents.keys import KeyedAssociation, SaMode


class MobileAssociations:
    """All SAs of one mobile node, and who may send on them."""

    def __init__(
        self,
        config: MobileNodeConfig,
        timers: TimerQueue,
        report: Callable[[Event], None],
        lacking: Callable[[float], None] | None,
    ) -> None:
        """`lacking(now)`, if any, is told when no SA is left to send on; `report` takes events."""
        self._config = config
        self._home = config.home_address
        self._timers = timers
        self._report = report
        self._lacking = lacking
        self._hold_nothing()

    def load(self, associations: Iterable[KeyedAssociation], now: float) -> None:
        """Hold these in place of any held before; raise `ConfigError` for one that misfits."""
        held = self._checked(associations)
        self._hold_nothing()
        for each in held:
            self._hold(each, 1, SaState.MATURE, now)

    def renew(self, associations: Iterable[KeyedAssociation], now: float) -> None:
        """Hold a fresh set beside the old one; raise `ConfigError` for one that misfits."""
        held = self._checked(associations)
        generation = self.database.generation(self._home) + 1
        for each in held:
            self._hold(each, generation, SaState.LARVAL, now)
        self._report(KeysRenewed(generation))

    def activate(self, now: float) -> None:
        """Send on the newest generation, though nothing has come on it yet."""
        self.generations.activate(self._home, self.database.generation(self._home), now)

    def delete(self, spis: Collection[int], now: float) -> None:
        """Delete the SAs with these inbound SPIs, each with its twin (RFC 7296 §1.4.1)."""
        inbound = [each for spi in spis if (each := self.database.by_spi(spi)) is not None]
        pairs = {(each.mode, each.generation) for each in inbound}
        held = self.database.of(self._home)
        gone = [each for each in held if (each.mode, each.generation) in pairs]
        self.generations.delete(gone, now)
        left = self.database.of(self._home)
        if gone and not any(each.state is SaState.MATURE for each in left):
            self.activate(now)

    def drop_older(self, now: float) -> None:
        """Delete all but the newest generation."""
        newest = self.database.generation(self._home)
        self.generations.delete(self.generations.older(self._home, newest), now)

    def look_again(self, now: float) -> None:
        """Choose the SA for payload anew: the one in use has no numbers left."""
        self._changed(now)

    @property
    def complete(self) -> bool:
        """Whether there is an SA to send on, for signalling and for payload."""
        return all(self.database.outbound(self._home, mode) is not None for mode in SaMode)

    def _hold_nothing(self) -> None:
        config = self._config
        self.database = SecurityAssociationDatabase()
        self.generations = Generations(
            self.database, self._timers, lambda _, now: self._changed(now)
        )
        self.senders = choose_senders(
            config.mode, origin_option=config.origin_option, multi_sender=config.multi_sender
        )
        self.tunnel: SecurityAssociation | None = None
        """The SA that payload is sent on."""
        self._sending = 1

    def _hold(self, keyed: KeyedAssociation, generation: int, state: SaState, now: float) -> None:
        inbound = keyed.destination == self._home
        association = SecurityAssociation(
            spi=keyed.spi,
            home_address=self._home,
            source=keyed.source,
            destination=keyed.destination,
            mode=keyed.mode,
            transform=keyed.transform,
            key=keyed.key,
            generation=generation,
            state=state,
            limit=self._config.sequence_limit,
        )
        if inbound:
            association.windows = self.senders.windows(keyed.mode)
        self.generations.hold(association, now, inbound=inbound)

    def _changed(self, now: float) -> None:
        self.tunnel = self.database.outbound(self._home, SaMode.TUNNEL)
        if self.tunnel is not None and self.tunnel.generation != self._sending:
            self._sending = self.tunnel.generation
            self._report(KeysSwitched(self._sending))
        if self._lacking is not None and not self.complete:
            # Looked at again when whatever changes them is through with it.
            self._timers.schedule(now, self._tell_if_lacking)

    def _tell_if_lacking(self, now: float) -> None:
        if self._lacking is not None and not self.complete:
            self._lacking(now)

    def _checked(self, associations: Iterable[KeyedAssociation]) -> tuple[KeyedAssociation, ...]:
        held = tuple(associations)
        for each in held:
            self._check(each)
        return held

    def _check(self, association: KeyedAssociation) -> None:
        config = self._config
        ends = {association.source, association.destination}
        if ends != {config.home_address, config.home_agent_address}:
            raise ConfigError(
                f"{config.key_file}: SPI {association.spi:#010x}: {association.source} to "
                f"{association.destination} is not between {config.home_address} and "
                f"{config.home_agent_address}; correct its source and destination"
            )
        if association.transform not in config.mode.transforms:
            raise ConfigError(
                f"{config.key_file}: SPI {association.spi:#010x}: {association.transform} does "
                f"not fit mode {config.mode}; use {' or '.join(config.mode.transforms)}"
            )
