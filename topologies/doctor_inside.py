"""The part of `make doctor` that runs inside a sandbox: try each thing, print a JSON list a line.

Each line is the fields of ``topologies.doctor.Finding``.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from topologies.doctor import CANNOT, DEGRADED, OK, Finding, last_line, run

IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
CSUM, TSO4, TSO6, USO4, USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
RT_TYPE_2 = """table ip6 doctor {
    chain incoming {
        type filter hook prerouting priority -300;
        rt type 2 drop;
    }
}
"""
REJECTED = ("No such command", "Unknown command", "% ")


def main() -> None:
    """Try everything; a probe that raises is a finding too."""
    probes: list[Callable[[], Finding]] = [ipv6, links, bridge, nftables, kernel_esp]
    if "--no-tun" not in sys.argv:
        probes[3:3] = [tun_offload]
    known_python = sys.version_info >= (3, 11)  # older ones cannot import what these need
    if known_python:
        probes[-1:-1] = [rate, delay]
        if shutil.which("zebra"):
            probes += [frr_configuration, origin_validation]
    for probe in probes:
        try:
            finding = probe()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            subject = probe.__name__.replace("_", " ")
            finding = Finding(CANNOT, subject, str(error), "the kernel refuses what this needs")
        print(json.dumps(finding), flush=True)


def ipv6() -> Finding:
    """IPv6, and raw sockets for ESP."""
    if not Path("/proc/sys/net/ipv6").exists():
        cure = "take ipv6.disable=1 from the kernel's command line"
        return Finding(CANNOT, "IPv6", "the kernel has it off", cure)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ESP):
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    return Finding(OK, "IPv6", "forwarding, raw sockets")


def links() -> Finding:
    """Make a veth pair across two network namespaces."""
    script = "ip link add doctor0 type veth peer name doctor1 && ip netns add doctor"
    script += " && ip link set doctor1 netns doctor && ip netns del doctor"
    result = run(["sh", "-c", script])
    if result.returncode != 0:
        cure = "the kernel must have CONFIG_VETH (sudo modprobe veth)"
        return Finding(CANNOT, "links", last_line(result), cure)
    return Finding(OK, "links", "veth pairs between network namespaces")


def bridge() -> Finding:
    """Make a Linux bridge, which plain Mininet's switches are."""
    result = run(["ip", "link", "add", "doctor2", "type", "bridge"])
    if result.returncode != 0:
        cure = "sudo modprobe bridge; only topologies with switches need it"
        return Finding(DEGRADED, "bridge", last_line(result), cure)
    return Finding(OK, "bridge", "Linux bridges")


def tun_offload() -> Finding:
    """Make a TUN device and see what it can merge: TCP (TSO), UDP (USO)."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", b"doctor3", flags))
        if not accepts(descriptor, CSUM | TSO4 | TSO6):
            said = "no merging of TCP segments (TSO): the tunnel is several times slower"
            return Finding(DEGRADED, "TUN", said, "a kernel with TUNSETOFFLOAD is wanted")
        if accepts(descriptor, CSUM | TSO4 | TSO6 | USO4 | USO6):
            return Finding(OK, "TUN", "merges TCP (TSO6) and UDP (USO6) segments")
        said = "merges TCP (TSO6), not UDP (USO6: kernel 6.2 and later); ESP in UDP would be slower"
        return Finding(OK, "TUN", said)
    finally:
        os.close(descriptor)


def accepts(descriptor: int, offload: int) -> bool:
    """Return whether a TUN device takes a set of offload flags."""
    try:
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, offload)
    except OSError:
        return False
    return True


def nftables() -> Finding:
    """Drop type 2 routing headers before the stack, which a kernel without MIP6 would answer."""
    if shutil.which("nft") is None:
        return Finding(CANNOT, "nftables", "nft is not installed", "`make setup` installs it")
    result = subprocess.run(
        ["nft", "-f", "-"], input=RT_TYPE_2, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = f"no `rt type 2 drop`: {(result.stderr.splitlines() or ['?'])[0]}"
        return Finding(CANNOT, "nftables", said, "the kernel must have nf_tables and nft_exthdr")
    return Finding(OK, "nftables", "`rt type 2 drop` before the stack")


def rate() -> Finding:
    """Cap a link's rate (HTB) and let routing pass a full queue (u32), with the real lines."""
    from topologies.shaping import rate_commands

    lines = "\n".join(rate_commands("lo", 10.0)) + "\n"
    result = subprocess.run(
        ["tc", "-batch", "-"], input=lines, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        cure = "sudo modprobe -a sch_htb cls_u32; links with a rate need them (`make throughput`)"
        return Finding(DEGRADED, "rates", (result.stderr.splitlines() or ["?"])[0], cure)
    run(["tc", "qdisc", "del", "dev", "lo", "root"])
    return Finding(OK, "rates", "HTB, routing's packets first")


def delay() -> Finding:
    """Delay packets: netem, or the delay line and what it does here, measured.

    The figures are of this moment, so they are told and change no verdict.
    """
    from topologies.delay import has_netem
    from topologies.delay_bench import measure

    if has_netem():
        return Finding(OK, "delay", "netem")
    if "--no-tun" in sys.argv:
        said = "no netem, and no delay line without /dev/net/tun: no link can have delay or loss"
        return Finding(DEGRADED, "delay", said, "sudo modprobe sch_netem; Figure 1 has no delay")
    found = measure()
    small, large = (f"{found.packets_s[size] / 1e3:.0f}" for size in (100, 1400))
    said = (
        f"delay line (no netem): {small},000 packets/s of 100 octets, {large},000 of 1400, "
        f"TCP {found.tcp_mbit_s:.0f} Mbit/s; adds {found.median_ms:.2f} ms (p99 {found.p99_ms:.2f})"
    )
    return Finding(OK, "delay", said)


def kernel_esp() -> Finding:
    """See whether the kernel has ESP; the project's own, in user space, needs none."""
    words = "ip xfrm state add src fd00::1 dst fd00::2 proto esp spi 0x100 mode tunnel"
    aead = ["aead", "rfc4106(gcm(aes))", "0x" + "00" * 20, "128"]
    if run([*words.split(), *aead]).returncode == 0:
        return Finding(OK, "ESP", "in user space; the kernel has it too")
    return Finding(OK, "ESP", "in user space; the kernel has none, and none is needed")


def frr_configuration() -> Finding:
    """Dry-run the border router's real configuration through each of its daemons."""
    # Imported here: older Pythons, which the report must survive, cannot import these.
    from topologies.figure_1 import figure_1
    from topologies.frr_config import Detection, RoutingOptions, daemons, render

    plan = figure_1()
    node = plan.nodes["br"]
    options = RoutingOptions(detection=Detection("doctor", bfd_interval_ms=50))
    folder = Path(tempfile.mkdtemp())
    runs = {}
    for name in daemons(plan, node, options):
        file = folder / f"{name}.conf"
        file.write_text(render(plan, node, name, options))
        runs[name] = subprocess.Popen(
            [name, "-C", "-f", str(file), "-u", "root", "-g", "root"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    for name, process in runs.items():
        output = process.communicate(timeout=15)[0]
        bad = [line for line in output.splitlines() if any(word in line for word in REJECTED)]
        if bad or process.returncode != 0:
            said = (bad or output.splitlines() or [f"exit code {process.returncode}"])[-1].strip()
            cure = "this FRR rejects a line of ours: 8.4 to 10 are known to take it"
            return Finding(CANNOT, "FRR configuration", f"{name}: {said}", cure)
    return Finding(OK, "FRR configuration", f"accepted by {', '.join(runs)}")


def origin_validation() -> Finding:
    """Load bgpd's RPKI module, and look which words it takes."""
    from topologies.frr_programs import RoutingError, check_rpki_module, rpki_lines

    subject = "origin validation"
    try:
        check_rpki_module()
    except RoutingError as error:
        said, _, cure = str(error).partition("; ")
        return Finding(DEGRADED, subject, f"{said}: no `make hijack`", cure)
    (cache,) = (line.strip() for line in rpki_lines() if "cache" in line)
    return Finding(OK, subject, f"bgpd has its RPKI module and takes `{cache}`")


if __name__ == "__main__":
    main()
