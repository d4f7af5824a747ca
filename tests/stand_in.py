"""A stand-in for a home agent: a TUN with the home route, and an echo for every packet.

Answers UDP packets to any address of the home network by sending them back; run in a node:
``python tests/stand_in.py``. Prints "ready" when the route is there.
"""

import fcntl
import os
import socket
import struct
import subprocess

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


def main() -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"home", IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", "home", "up"], check=True)
    route = ["ip", "-6", "route", "add", "fd00:192:168:1::/64", "dev", "home", "proto", "66"]
    subprocess.run(route, check=True)
    print("ready", flush=True)
    while True:
        packet = os.read(tun, 65536)
        if packet[6] == socket.IPPROTO_UDP:  # swapping addresses and ports keeps the checksum
            swapped = packet[:8] + packet[24:40] + packet[8:24]
            os.write(tun, swapped + packet[42:44] + packet[40:42] + packet[44:])


if __name__ == "__main__":
    main()
