# Shared by the scripts beside it: becoming root, apt packages, the Python environment, sections of checks.
# Sourced, not run; the caller has set -euo pipefail and stands in the checkout.

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Networks, mounts and engines need root: start again under sudo, keeping what the caller's shell says about itself.
become_root() {
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo > /dev/null || die "this needs root and there is no sudo; run it as root"
    exec sudo --preserve-env=KUBECONFIG,CI,TERM,NO_COLOR,PYTHON "$@"
}

has() { command -v "$1" > /dev/null 2>&1; }

has_static_busybox() {
    has busybox && case $(LC_ALL=C ldd "$(command -v busybox)" 2>&1 || true) in
        *"not a dynamic"* | *"statically linked"*) true ;;
        *) false ;;
    esac
}

python_ok() {
    has "$1" && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null
}

# The Python to use: $PYTHON, or the first that is new enough. Empty if there is none.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if python_ok "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

# Names of the apt packages this machine lacks, judged by what they provide (docker-ce has a dockerd, too).
missing_packages() {
    local python
    has dockerd || say docker.io
    has etcd || say etcd-server
    has nft || say nftables
    has haproxy || say haproxy
    has ip || say iproute2
    has unshare || say util-linux
    has nbdkit || say nbdkit
    has nbdfuse || say libnbd-bin
    has mkfs.ext4 || say e2fsprogs
    has losetup || say mount
    has_static_busybox || say busybox-static
    if [ -d /sys/module/apparmor ] && ! has apparmor_parser; then
        say apparmor # where the kernel has AppArmor, Docker cannot start containers without its parser
    fi
    python=$(find_python)
    if [ -z "$python" ]; then
        say python3-venv
        # Ubuntu 22.04 has a newer Python beside its own.
        if has apt-cache && ! apt_python_ok; then say python3.11-venv; fi
    elif ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
        case $python in
            */python3) say python3-venv ;;
            *) say "$(basename "$python")-venv" ;;
        esac
    fi
}

# What the tests call beside that. Debian 12's docker.io has the docker command inside.
missing_test_packages() {
    has docker || say docker-cli
    has etcdctl || say etcd-client
    has ps || say procps
    has redis-server || say redis-server # the database and the cache of a Compose file
    has memcached || say memcached
}

apt_python_ok() {
    local version
    version=$(apt-cache policy python3 | sed -n 's/ *Candidate: *//p')
    [ -n "$version" ] && dpkg --compare-versions "$version" ge 3.11
}

# install_packages FUNCTION: install what the function says is missing. Nothing that is running is disturbed, and no
# service is started by the installation: the lab brings its own engines and etcd, on sockets and ports of their own.
install_packages() {
    local packages missing=$1 policy=/usr/sbin/policy-rc.d
    mapfile -t packages < <("$missing")
    [ ${#packages[@]} -eq 0 ] && return
    has apt-get || die "please install: ${packages[*]} (no apt-get here)"
    say "Installing ${packages[*]}"
    if [ ! -e $policy ]; then
        trap "rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 755 $policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq < /dev/null || say "apt-get update failed; trying with the package lists that are there"
    mapfile -t packages < <("$missing") # the lists may have changed which Python there is
    apt-get install -qq -y --no-install-recommends "${packages[@]}" < /dev/null > /tmp/minik-apt.log 2>&1 || {
        tail -n 5 /tmp/minik-apt.log >&2
        die "apt-get could not install ${packages[*]}; the whole story is in /tmp/minik-apt.log"
    }
    rm -f /tmp/minik-apt.log
    if [ "$(trap -p EXIT)" = "trap -- 'rm -f $policy' EXIT" ]; then
        rm -f $policy
        trap - EXIT
    fi
}

# Make .venv hold exactly what the lock file says, and this checkout. Done before: nothing happens.
ensure_venv() {
    local lock=$1 python stamp wanted
    python=$(find_python)
    [ -n "$python" ] || die "minik needs Python 3.11 or newer; this machine has $(python3 --version 2>&1 || say none)"
    stamp=.venv/.installed-$lock
    wanted=$({ "$python" --version && pwd && cat "$lock" pyproject.toml; } | sha256sum)
    [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2> /dev/null)" = "$wanted" ] && return
    say "Installing Python packages from $lock into .venv"
    python_ok .venv/bin/python || "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --quiet --no-input --disable-pip-version-check --no-deps -r "$lock"
    .venv/bin/python -m pip install --quiet --quiet --no-input --disable-pip-version-check --no-deps --no-build-isolation -e .
    # Compiled once here, so that the first cluster starts as quickly as the second.
    .venv/bin/python -m compileall -q api apiserver bootstrap cli client compose controllers ingress kubelet lab linux proxy scheduler storage workshop
    say "$wanted" > "$stamp"
}

# The clients that tests run stand first; without Helm its tests fail as those of any missing program.
ensure_clients() {
    local name
    PATH=$(pwd)/.venv/bin:$PATH
    for name in kubectl helm; do
        [ -x .venv/bin/$name ] && continue
        say "Installing $name into .venv"
        .venv/bin/python scripts/install-clients $name || has $name || die "no $name to test with"
    done
}

# section NAME COMMAND...: run one part of the checks; the summary tells how it went.
results=()
failed=0
session=

section() {
    local name=$1 code=0 started=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    # In a session of its own, so that everything it starts can be found; waited for in the background, so that a
    # signal is handled at once.
    # (Without --default-signal they would ignore Ctrl-C, as background processes of a script do.)
    setsid env --default-signal=INT,QUIT "$@" < /dev/null &
    session=$!
    wait "$session" || code=$?
    kill_session
    if [ $code -eq 0 ]; then
        results+=("ok       $name ($((SECONDS - started)) s)")
    elif [ $code -eq 5 ] && [ "$1" = .venv/bin/pytest ]; then
        results+=("none     $name: no test there was selected")
    else
        results+=("FAILED   $name (exit code $code, $((SECONDS - started)) s)")
        failed=1
    fi
}

# What a killed pytest left running belongs to its session.
kill_session() {
    if [ -n "$session" ]; then ps -o pid= -s "$session" | xargs -r kill -KILL 2> /dev/null || true; fi
    session=
}

skip() { # skip NAME REASON
    printf '\n=== %s\nskipped: %s\n' "$1" "$2"
    results+=("skipped  $1: $2")
}

# What needs no engine, no etcd and no root.
quick_sections() {
    section "style" .venv/bin/ruff check .
    section "format" .venv/bin/ruff format --check .
    section "types" .venv/bin/mypy
    section "imports" .venv/bin/lint-imports
    section "links in the docs" scripts/doc-links --check
    section "unit tests" .venv/bin/pytest --ignore tests/integration --ignore tests/e2e "$@"
}

summary() {
    printf '\n=== summary\n'
    printf '%s\n' "${results[@]}"
    exit $failed
}

# Any shell has minikctl.
LINK=/usr/local/bin/minikctl

link_cli() {
    local target
    target=$(pwd)/.venv/bin/minikctl
    if [ -e $LINK ] && [ ! -L $LINK ]; then
        say "$LINK is a file of somebody else; use $target"
    elif [ "$(readlink $LINK 2> /dev/null)" != "$target" ]; then
        mkdir -p "$(dirname $LINK)"
        ln -sfn "$target" $LINK
    fi
}

# Also one that leads nowhere, because its checkout is gone.
unlink_cli() {
    [ -L $LINK ] || return 0
    if [ ! -e $LINK ] || [ "$(readlink $LINK)" = "$(pwd)/.venv/bin/minikctl" ]; then rm -f $LINK; fi
}
