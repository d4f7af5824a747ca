"""Set-up and the Makefile: what is installed, how, and what is said where it cannot be."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from people import REPOSITORY, Person

SETUP = REPOSITORY / "topologies/setup.sh"
LINE = "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends radvd"

Fakes = Callable[[dict[str, str]], dict[str, str]]


@pytest.fixture
def fakes(user: Person) -> Fakes:
    """Put shell scripts before the real programs; dpkg-query says that radvd alone is missing."""
    folder = user.home / "bin"

    def make(scripts: dict[str, str]) -> dict[str, str]:
        folder.mkdir()
        dpkg = 'for last; do :; done; [ "$last" != radvd ] && [ "$last" != systemd ] && '
        everything = {"dpkg-query": f"{dpkg} printf installed || exit 1"} | scripts
        for name, script in everything.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        return {"PATH": f"{folder}:/usr/bin:/bin", "LOG": str(user.home / "log")}

    return make


def set_up(person: Person, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return person.run(["sh", str(SETUP), *arguments], stdin=subprocess.DEVNULL, **options)


def test_without_sudo_the_exact_line_is_printed(user: Person, fakes: Fakes) -> None:
    environment = fakes({})
    for tool in ("sudo",):
        if Path("/usr/bin", tool).exists():
            pytest.skip("this machine has sudo")
    result = set_up(user, "venv", env=environment)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == LINE
    assert "no sudo" in result.stderr


def test_sudo_that_would_ask_without_a_terminal(user: Person, fakes: Fakes) -> None:
    result = set_up(user, "venv", env=fakes({"sudo": "exit 1"}))
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"sudo {LINE}"


def test_sudo_without_a_question_elevates_that_step_alone(user: Person, fakes: Fakes) -> None:
    log = 'echo "$*" >> $LOG; [ "$2" = true ] || exit 1'
    result = set_up(user, "venv", env=fakes({"sudo": log}))
    assert result.returncode == 2  # the fake installs nothing
    said = (user.home / "log").read_text().splitlines()
    step = f"-n DEBIAN_FRONTEND=noninteractive sh {SETUP} --install radvd"
    assert said == ["-n true", step]
    assert result.stderr.splitlines()[-1] == f"sudo {LINE}"


@pytest.mark.parametrize("known", [True, False])
def test_package_lists_are_fetched_only_where_needed(
    user: Person, fakes: Fakes, known: bool
) -> None:
    """And no service starts meanwhile: invoke-rc.d asks policy-rc.d, which says 101."""
    scripts = {
        "apt-cache": f"exit {0 if known else 1}",
        "apt-get": 'echo "$DEBIAN_FRONTEND $*" >> $LOG; /usr/sbin/policy-rc.d; echo $? >> $LOG',
    }
    script = "mount -t tmpfs sbin /usr/sbin && " + shlex.join(
        ["sh", str(SETUP), "--install", "radvd"]
    )
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    result = user.run(
        [*words, "sh", "-c", f"{script}; code=$?; ls /usr/sbin; exit $code"], env=fakes(scripts)
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""  # policy-rc.d is gone again
    install = ["noninteractive install -y --no-install-recommends radvd", "101"]
    update = [] if known else ["noninteractive update", "101"]
    assert (user.home / "log").read_text().splitlines() == [*update, *install]


@pytest.mark.parametrize("service", ["radvd", "strongswan-starter"])
def test_new_services_are_disabled_again_and_old_ones_kept(
    user: Person, fakes: Fakes, service: str
) -> None:
    scripts = {
        "apt-cache": "exit 0",
        "apt-get": f"touch /lib/systemd/system/{service}.service",
        "systemctl": 'echo "$*" >> $LOG',
    }
    script = """mount -t tmpfs sbin /usr/sbin && mkdir -p $HOME/units &&
    mount --bind $HOME/units "$(realpath /lib/systemd/system)" &&
    touch /lib/systemd/system/frr.service && exec sh "$0" --install radvd"""
    if not Path("/lib/systemd/system").is_dir():
        pytest.skip("no folder for systemd's units here")
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(SETUP)]
    result = user.run(words, env=fakes(scripts))
    assert result.returncode == 0, result.stderr
    assert (user.home / "log").read_text() == f"disable --quiet {service}.service\n"


def test_an_old_python_is_refused_in_one_line(user: Person, fakes: Fakes) -> None:
    environment = fakes({"dpkg-query": "printf installed", "python3": "exit 1"})
    environment["MANYHOMES_PYTHON"] = str(user.home / "bin/python3")
    result = set_up(user, str(user.home / "venv"), env=environment)
    assert result.returncode == 2
    assert "3.11 to 3.13 is wanted" in result.stderr


def test_a_folder_that_is_no_environment_is_left_alone(user: Person, fakes: Fakes) -> None:
    precious = user.home / "precious"
    precious.mkdir()
    (precious / "file").write_text("mine")
    result = set_up(user, str(precious), env=fakes({"dpkg-query": "printf installed"}))
    assert result.returncode == 2
    assert "is no virtual environment" in result.stderr
    assert (precious / "file").read_text() == "mine"


def test_an_environment_from_the_systems_python(user: Person, fakes: Fakes) -> None:
    """In a repository of two files, so that nothing has to be fetched."""
    repository = user.home / "repository"
    (repository / "topologies").mkdir(parents=True)
    (repository / "topologies/setup.sh").write_text(SETUP.read_text())
    (repository / "requirements.txt").write_text("")
    os.chown(repository, user.user, -1)
    command = ["sh", "topologies/setup.sh", ".venv"]
    environment = fakes({"dpkg-query": "printf installed"})
    result = user.run(command, cwd=repository, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    code = "import sys; print(sys.base_prefix, sys.path[-1])"
    found = user.run([str(repository / ".venv/bin/python"), "-I", "-c", code], cwd="/")
    assert found.stdout.split() == ["/usr", str(repository)]
    assert (repository / ".venv/.ready").read_text() == f"{repository}\n"


def test_every_verb_is_printed() -> None:
    text = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True).stdout
    verbs = {line.split()[1] for line in text.splitlines() if line.startswith("  make ")}
    assert verbs >= {"failover", "throughput", "lab", "test", "test-long", "lint", "doctor"}
    assert verbs >= {"clean", "graph", "mn", "shell", "sniff", "setup"}
    assert len([line for line in text.splitlines() if line.startswith("  make ")]) == len(verbs)


def test_a_misspelt_variable_ends_with_the_known_ones() -> None:
    command = ["make", "failover", "TRAILS=5", "SET=has=5 bfd=20x3"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 2
    assert "unknown variable TRAILS; known: TRIALS SEED" in result.stderr


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A folder that looks to make like an environment just set up."""
    (tmp_path / ".ready").write_text(f"{REPOSITORY}\n")
    return tmp_path


def make(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["make", *words], cwd=REPOSITORY, capture_output=True, text=True)


def test_a_second_set_up_has_nothing_to_do(ready: Path) -> None:
    question = ("--question", "setup", f"VENV={ready}")
    assert make(*question).returncode == 0
    (ready / ".ready").write_text("/another/place\n")  # the repository was moved
    assert make(*question).returncode == 1
    (ready / ".ready").write_text(f"{REPOSITORY}\n")
    os.utime(ready / ".ready", (0, 0))  # requirements.txt is newer
    assert make(*question).returncode == 1


@pytest.mark.parametrize(
    "verb", ["failover", "throughput", "lab", "mn", "shell", "sniff", "test", "graph"]
)
def test_a_recipe_leaves_no_shell_around_its_program(ready: Path, verb: str) -> None:
    lines = make("--dry-run", verb, f"VENV={ready}").stdout.splitlines()
    assert lines[0].startswith("exec ")


def test_requirements_are_pinned_with_hashes_and_name_no_index() -> None:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#", "-"))]
    assert len(pins) > 20
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    assert not [line for line in lines if "://" in line or "index" in line or "find-links" in line]
