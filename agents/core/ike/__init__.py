"""IKEv2 (RFC 7296) as an engine without I/O, clock or randomness; `endpoint` is its surface."""
