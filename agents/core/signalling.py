"""Messages from the home agent to a mobile node, and to those who sent what it cannot take."""

from collections.abc import Callable
from ipaddress import IPv6Address

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.counters import Dropped
from agents.core.outer_header import OuterHeader
from agents.core.registration import LIFETIME_UNIT, Answer
from agents.core.security_associations import KEPT_BACK
from agents.core.sid_tables import SidTables
from agents.core.tunnel import Tunnel
from agents.wire import ipv6, mobility
from agents.wire.errors import WireError
from agents.wire.mobility_options import MobilityOption
from agents.wire.routing import RoutingType2, serialize_routing
from agents.wire.status import BindingErrorStatus
from agents.wire.transforms import Mode as SaMode


class Signalling:
    """Builds Binding Acknowledgements, Binding Refresh Requests and Binding Errors."""

    def __init__(self, context: Context, tunnel: Tunnel, tables: SidTables) -> None:
        self._context = context
        self._tables = tables
        self._tunnel = tunnel
        self.advice: Callable[[Binding], tuple[MobilityOption, ...]] = lambda binding: ()
        """What else an acknowledgement with M says (rule 11)."""

    def acknowledge(self, home_address: IPv6Address, answer: Answer, in_tunnel: bool) -> None:
        """Send the Binding Acknowledgement; M if other HAs will use the SA too (draft §3.1)."""
        capable = answer.status.accepted and answer.multi_sender
        multihomed = capable and bool(len(self._context.peers))
        options = self._tables.options(answer.table_version) if capable else ()
        if multihomed and answer.binding is not None:
            options = (*options, *self.advice(answer.binding))
        message = mobility.BindingAcknowledgement(
            status=answer.status,
            sequence=answer.sequence,
            lifetime=int(answer.lifetime / LIFETIME_UNIT),
            key_management=answer.status.accepted and answer.key_management,
            multihomed=multihomed,
            options=options,
        )
        self.send(message, home_address, answer.care_of_address, answer.multi_sender, in_tunnel)

    def not_an_update(
        self,
        message: mobility.MobilityMessage,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        in_tunnel: bool,
    ) -> None:
        """Answer a protected message that no home agent expects (RFC 6275 §9.2)."""
        if isinstance(message, mobility.UnknownMobilityMessage | mobility.ExperimentalMessage):
            error = mobility.BindingError(
                BindingErrorStatus.UNRECOGNIZED_MESSAGE_TYPE, IPv6Address(0)
            )
            self.send(error, home_address, care_of_address, False, in_tunnel)
        raise Dropped("unexpected-mobility-message")

    def ask_for_update(self, binding: Binding, kept_back: int = KEPT_BACK) -> None:
        """Send a Binding Refresh Request (RFC 6275 §6.1.2).

        With `kept_back` 0 it takes the numbers that everything else leaves (rule 1).
        """
        try:
            self.send(
                mobility.BindingRefreshRequest(),
                binding.home_address,
                binding.care_of_address,
                binding.multi_sender,
                in_tunnel=False,
                kept_back=kept_back,
            )
        except Dropped as dropped:
            self._context.counters.drop(dropped.reason)

    def send(
        self,
        message: mobility.MobilityMessage,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        multi_sender: bool,
        in_tunnel: bool,
        kept_back: int = KEPT_BACK,
    ) -> None:
        """Send a Mobility Header message under the mobile node's SA.

        In transport mode behind a type 2 routing header, ORIGIN_IP between the two (RFC 6275
        §6.4; design §9); or in the tunnel, as the request came (RFC 4877 §3).
        """
        own = self._context.config.home_agent_address
        header = mobility.serialize_mobility(message, own, home_address)
        mode = SaMode.TUNNEL if in_tunnel else SaMode.TRANSPORT
        association = self._context.associations.outbound(home_address, mode)
        if association is None:
            raise Dropped("no-sa")
        if in_tunnel:
            inner = ipv6.build(own, home_address, ipv6.MOBILITY, header)
            sealed = self._context.mobile_esp.seal(association, inner, ipv6.IPV6, kept_back)
            outer = self._tunnel.outer(care_of_address, multi_sender)
        else:
            esp = self._context.mobile_esp
            sealed = esp.seal(association, header, ipv6.MOBILITY, kept_back)
            options = self._tunnel.origin_extension(multi_sender)
            following = ipv6.DESTINATION_OPTIONS if options else ipv6.ESP
            routing = serialize_routing(following, RoutingType2(home_address))
            outer = OuterHeader(own, care_of_address, ipv6.ROUTING, routing + options)
        self._context.to_send.append(outer.wrap(sealed))
        self._context.counters[f"sent.{type(message).__name__}"] += 1

    def unprotected(self, packet: ipv6.Packet, now: float) -> None:
        """Handle a packet to the HA address that no SA protects. Always raises `Dropped`.

        A Binding Update without protection is dropped (design §10, rule 8). A Home Address option
        on anything else needs a binding (RFC 6275 §9.3.1).
        """
        if packet.next_header == ipv6.MOBILITY:
            home_address = packet.home_address or packet.source
            message = _parse(packet, home_address)
            if isinstance(message, mobility.UnknownMobilityMessage):
                self._binding_error(
                    packet, BindingErrorStatus.UNRECOGNIZED_MESSAGE_TYPE, IPv6Address(0), now
                )
            raise Dropped("unprotected-mobility-message")
        if packet.home_address is not None:
            binding = self._context.cache.get(packet.home_address)
            known = binding is not None and binding.bound
            if not (known and binding and binding.care_of_address == packet.source):
                self._binding_error(
                    packet, BindingErrorStatus.UNKNOWN_BINDING, packet.home_address, now
                )
                raise Dropped("home-address-option-without-binding")
        raise Dropped("not-for-home-agent")

    def _binding_error(
        self,
        packet: ipv6.Packet,
        status: BindingErrorStatus,
        home_address: IPv6Address,
        now: float,
    ) -> None:
        own = self._context.config.home_agent_address
        message = mobility.BindingError(status, home_address)
        header = mobility.serialize_mobility(message, own, packet.source)
        self._context.send_error(own, packet.source, ipv6.MOBILITY, header, now)


def _parse(packet: ipv6.Packet, home_address: IPv6Address) -> mobility.MobilityMessage:
    """Read an unprotected message; an error's pointer counts from the start of the packet."""
    try:
        return mobility.parse_mobility(packet.payload, home_address, packet.destination)
    except WireError as error:
        if error.pointer is not None:
            error.pointer += packet.payload_offset
        raise
