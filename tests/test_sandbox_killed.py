"""kill -9 of the outermost process, at five moments: nothing of the sandbox is left."""

import signal
import sys
from pathlib import Path

import pytest
from kill_nine import Moment, left_by, process_like, processes
from leftovers import MARK, await_none, marked, snapshot
from people import REPOSITORY, Person

from topologies.sandbox import launcher_command

pytestmark = pytest.mark.emulation

INSIDE = """
import os, signal, subprocess, sys
from topologies.single_as import SingleAs
from mininet.net import Mininet
net = Mininet(SingleAs(), controller=None, waitConnected=False)
net.start()
# What outlives a careless killer: a daemon, and one with a session, signals and files of its own.
subprocess.run(["setsid", "-f", "sh", "-c", "trap '' TERM HUP INT; exec sleep 1001"], check=True)
open("/run/left", "w").close(); open("/var/tmp/left", "w").close(); os.mkdir("/dev/shm/left")
subprocess.Popen(["sleep", "1002"])
signal.pause()
"""
RUNNER = f"""
import sys
from topologies.sandbox import popen
child = popen([sys.executable, "-c", {INSIDE!r}])
sys.exit(child.wait())
"""
MOMENTS: dict[str, Moment] = {
    "launcher started": process_like("sandbox_launcher.py"),
    "init forked": processes(3),
    "first node up": process_like("mininet:HA1"),
    "last node up": process_like("mininet:v2"),
    "all running": process_like("sleep 1002"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_is_left_of_a_runner(person: Person, moment: str) -> None:
    assert left_by(person, [sys.executable, "-c", RUNNER], MOMENTS[moment]) == []


def test_nothing_is_left_of_a_replaced_process(person: Person) -> None:
    """The launcher in the place of the program itself, as under mn."""
    command = launcher_command([sys.executable, "-c", INSIDE])
    assert left_by(person, command, process_like("sleep 1002")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_nothing_is_left_after_other_signals(user: Person, number: signal.Signals) -> None:
    command = [sys.executable, "-c", RUNNER]
    assert left_by(user, command, process_like("sleep 1002"), number=number) == []


def test_the_check_itself_sees_what_is_left(user: Person) -> None:
    """A program that leaves a process and a file behind on purpose."""
    # The file first: the process is what the check waits for before it kills.
    mess = "import os, subprocess as s, signal; "
    mess += "open('/tmp/manyhomes-left-%d' % os.getuid(), 'w').close(); "
    mess += "s.Popen(['sleep', '1003']); signal.pause()"
    left = left_by(user, [sys.executable, "-c", mess], process_like("sleep 1003"))
    assert any("sleep 1003" in entry for entry in left)
    if user.prefix:
        assert f"files: /tmp/manyhomes-left-{user.user}" in left
    Path(f"/tmp/manyhomes-left-{user.user}").unlink()


def test_plain_mn_in_a_sandbox(user: Person) -> None:
    """`mn --custom` runs itself again in the sandbox; the host's interfaces never change."""
    before = snapshot()
    words = [".venv/bin/mn", "--custom", "topologies/single_as.py", "--topo", "single_as"]
    words[0] = sys.executable.rpartition("/")[0] + "/mn"
    result = user.run([*words, "--test", "pingall"], cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr
    assert "0% dropped" in result.stderr + result.stdout
    assert snapshot().since(before) == []
    assert list(marked(user.environment[MARK])) == [] or not await_none(user.environment[MARK])
