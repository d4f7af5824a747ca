"""Packet formats: bytes to dataclasses and back. No state, no I/O."""
