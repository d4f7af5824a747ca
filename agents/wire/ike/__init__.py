"""IKEv2 messages (RFC 7296 §3): octets on one side, dataclasses on the other, no policy."""
