"""Protocol engines without I/O: time, randomness and keys come in from outside."""
