"""A TCP transfer between two nodes, without a process in either."""

import hashlib
import socket
import threading

from tests.figure_1.lab import Lab
from topologies.namespaces import call_in

TCP_PORT = 7300


def transfer(lab: Lab, sender: str, receiver: str, data: bytes) -> str:
    """Send data by TCP; return the hash of what arrived."""
    listening = (lab.address(receiver), TCP_PORT)
    server = call_in(
        lab.node(receiver).pid,
        lambda: socket.create_server(listening, family=socket.AF_INET6, backlog=1),
    )
    client = call_in(lab.node(sender).pid, lambda: socket.socket(socket.AF_INET6))
    with server, client:
        for each in (server, client):
            each.settimeout(60)
        client.bind((lab.address(sender), 0))
        thread = threading.Thread(target=lambda: (client.connect(listening), client.sendall(data)))
        thread.start()
        connection, _ = server.accept()
        connection.settimeout(60)
        digest, count = hashlib.sha256(), 0
        while count < len(data) and (part := connection.recv(1 << 16)):
            digest.update(part)
            count += len(part)
        thread.join()
        connection.close()
    return digest.hexdigest()
