"""The same engines in virtual time: no sockets, no namespaces, no waiting."""
