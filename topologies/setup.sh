#!/bin/sh
# Install what is missing: Debian packages, the virtual environment. `make setup` calls it, and so
# does every other verb the first time. POSIX sh, because a minimal system has no Python yet.
#
#   setup.sh VENV                    all of it, as the calling user
#   setup.sh --install PACKAGE...    the elevated part alone, as root
#
# Exit code 0; 2 when something must be done by hand first (said in the last lines).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${MANYHOMES_PYTHON:-/usr/bin/python3}
packages="make git python3-venv mininet frr frr-rpki-rtrlib stayrtr nftables bridge-utils iproute2
iputils-ping procps iperf3 tshark radvd strongswan-charon strongswan-swanctl
libcharon-extra-plugins libstrongswan-standard-plugins"
# Services that some of these start and enable where systemd runs; no sandbox uses them.
services="frr.service stayrtr.service radvd.service iperf3.service strongswan-starter.service"

say() { printf 'manyhomes: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 2
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing() {
    for package in $packages; do
        installed "$package" || printf '%s ' "$package"
    done
    # stayrtr wants somebody who provides systemd-sysusers; this one does not bring in systemd.
    installed systemd || installed systemd-standalone-sysusers ||
        printf 'systemd-standalone-sysusers '
}

services_present() {
    for service in $services; do
        for folder in /lib/systemd/system /usr/lib/systemd/system; do
            if [ -e "$folder/$service" ]; then
                printf '%s ' "$service"
                break
            fi
        done
    done
}

# An image without systemd, which may get it later, has the service enabled all the same.
disable_service() {
    if command -v systemctl >/dev/null; then
        systemctl disable --quiet "$1" 2>/dev/null || true
    elif command -v deb-systemd-helper >/dev/null; then
        DPKG_MAINTSCRIPT_PACKAGE=manyhomes deb-systemd-helper disable "$1" >/dev/null 2>&1 || true
    fi
}

# The elevated part: packages without their recommendations, and no new service left running.
install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    before=" $(services_present)"
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 2' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    # Package lists are fetched only where they do not know a package, or are out of date.
    known=yes
    for package in "$@"; do
        apt-cache show "$package" >/dev/null 2>&1 || known=no
    done
    if [ $known = no ] || ! apt-get install -y --no-install-recommends "$@"; then
        apt-get update
        apt-get install -y --no-install-recommends "$@"
    fi
    for service in $(services_present); do
        case $before in
        *" $service "*) ;;
        *) disable_service "$service" ;;
        esac
    done
}

# Elevate the installation: as root directly, else sudo without a question, else sudo with one.
ensure_packages() {
    command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || {
        say "not a Debian or Ubuntu: packages are yours to install; \`make doctor\` says which tools"
        return 0
    }
    wanted=$(missing)
    wanted=${wanted% }
    [ -n "$wanted" ] || return 0
    say "missing Debian packages: $wanted"
    if [ "$(id -u)" = 0 ]; then
        # shellcheck disable=SC2086  # a list of words
        sh "$0" --install $wanted >&2 || fail "apt-get failed; its last lines say why"
        return 0
    fi
    line="DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wanted"
    if ! command -v sudo >/dev/null; then
        fail "there is no sudo here. As root, run this line, then make again:
$line"
    elif sudo -n true 2>/dev/null; then
        options=-n
    elif [ -t 0 ] && [ -t 2 ]; then
        say "sudo will ask for your password, for this step alone"
        options=
    else
        fail "installing them needs root. Run this line, then make again:
sudo $line"
    fi
    # shellcheck disable=SC2086
    sudo $options DEBIAN_FRONTEND=noninteractive sh "$0" --install $wanted >&2 || fail \
        "the installation failed. Run this line, then make again:
sudo $line"
}

# Under `sudo make`, what is written belongs to the user who called.
as_caller() {
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_UID:-}" ] && [ "$SUDO_UID" != 0 ] &&
        setpriv --reuid "$SUDO_UID" --regid "$SUDO_GID" --init-groups test -w "$here" 2>/dev/null
    then
        home=$(getent passwd "$SUDO_UID" | cut -d: -f6)
        setpriv --reuid "$SUDO_UID" --regid "$SUDO_GID" --init-groups env HOME="$home" "$@"
    else
        "$@"
    fi
}

make_environment() {
    venv=$1
    [ -x "$python" ] || fail "$python is missing; the Debian package is python3"
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || fail \
        "$("$python" --version) at $python: 3.11 to 3.13 is wanted (Debian 12, Ubuntu 24.04 or later)"
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        rm -f "$venv/.ready"
        # --clear is for an environment of another Python or place; never for a foreign folder.
        if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
            fail "$venv exists and is no virtual environment; choose another with VENV=…"
        fi
        "$python" -m venv --clear "$venv" || fail "no virtual environment at $venv (see above)"
    fi
    say "installing Python packages into $venv (20 s the first time)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes -r "$here/requirements.txt" || fail "pip failed; its last lines say why"
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # `mn` executes a topology file without putting the repository on sys.path; this line does.
    printf '%s\n' "$here" >"$site/manyhomes.pth"
    # The list of fonts that matplotlib makes at its first start (experiments/plots.py says where).
    MPLCONFIGDIR="$(cd "$venv" && pwd)/matplotlib" "$venv/bin/python" -c \
        'import importlib.util as u; u.find_spec("matplotlib") and __import__("matplotlib.pyplot")'
    printf '%s\n' "$here" >"$venv/.ready"
}

case ${1:-} in
--install)
    shift
    install_packages "$@"
    ;;
--environment) make_environment "$2" ;;
"" | -*) fail "usage: setup.sh VENV" ;;
*)
    ensure_packages
    as_caller sh "$0" --environment "$1"
    ;;
esac
