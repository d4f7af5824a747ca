"""The event loop, devices, sockets and processes around the engines."""
