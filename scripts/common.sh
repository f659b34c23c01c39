# Sourced by the scripts beside it: where the clone is, one line per step, Debian's packages.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# php-fpm and nginx lie where a user's PATH often does not reach.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
mkdir -p reports .tools

say() { printf '%s\n' "$@"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# step TEXT COMMAND...: runs it with its output in $log, and says in one line how that went.
step() {
    local text=$1 began=$SECONDS
    shift
    printf '%s ... ' "$text"
    if "$@" >>"$log" 2>&1 </dev/null 9>&-; then
        printf 'done (%d s)\n' $((SECONDS - began))
    else
        printf 'FAILED\n'
        tail -n 5 "$log" | sed 's/^/    /' >&2
        die "$text failed; all of its output is in $log"
    fi
}

have() { command -v "$1" >/dev/null 2>&1; }

# have_any NAME: whether PATH holds a program of that name with or without a version behind it.
have_any() {
    compgen -c -- "$1" | grep -xE "$1[0-9.]*" >/dev/null
}

# Prints the comment at the top of the script that is running.
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 0
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

can_be_root() {
    [ "$(id -u)" = 0 ] || { have sudo && { [ -t 2 ] || sudo -n true 2>/dev/null; }; }
}

apt_get() {
    # RUNLEVEL=1 keeps the packages' own services from starting where no systemd runs.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}

# install_packages WHY PACKAGE...: Debian's packages, or one line that says what to do.
install_packages() {
    local why=$1
    shift
    have apt-get || die "$why; install it with your system's packages (on Debian: $*), then run this again"
    can_be_root || die "$why, and there is neither root nor sudo here; as root: apt-get install $*"
    # A password must be asked for before the output goes to the log.
    [ "$(id -u)" = 0 ] || as_root -v
    if [ -z "${apt_updated:-}" ]; then
        step "reading Debian's list of packages" apt_get update
        apt_updated=yes
    fi
    step "installing $* from Debian" apt_get install --no-install-recommends "$@"
}
