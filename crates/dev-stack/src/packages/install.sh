# Installs the packages "$@" without starting the servers in them. Runs as root; survives the process that started it.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
policy=/usr/sbin/policy-rc.d
marker='# Written by dev-stack while it installs packages. Safe to remove.'

# One at a time: the policy belongs to whoever wrote it.
exec 9>/run/feature-auth-packages.lock
flock 9

download=
interrupted=
remove_policy() {
    if [ -f "$policy" ] && grep -qsxF "$marker" "$policy"; then rm -f "$policy"; fi
}
trap remove_policy EXIT
trap 'interrupted=1; [ -z "$download" ] || kill "$download" 2>/dev/null || :' INT TERM HUP

# Without a policy of its own the machine would start each server as it is installed.
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\n%s\nexit 101\n' "$marker" >"$policy.new"
    chmod 755 "$policy.new"
    mv "$policy.new" "$policy"
fi

# Downloads can be cut off; `wait` ends at a signal, apt-get then at ours.
interruptible() {
    "$@" 9>&- &
    download=$!
    status=0
    wait "$download" || status=$?
    [ -z "$interrupted" ] || { wait "$download" || :; exit 130; }
    download=
    return "$status"
}

apt() {
    apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold --no-install-recommends "$@"
}

interruptible apt update || echo 'apt-get update failed; trying with what is known' >&2
interruptible apt install --download-only "$@"
[ -z "$interrupted" ] || exit 130
# Repairs what an earlier installation left, whoever cut it off.
apt install "$@" || { dpkg --configure -a && apt install --fix-broken "$@"; }
[ -z "$interrupted" ] || exit 130
