#!/bin/sh
# Answer the Docker API on the socket $1, until killed: sh scripts/start_podman.sh /tmp/podman.sock
# Its settings lie beside the socket; the machine's own are not touched.
set -eu
socket=$1
if ! command -v podman >/dev/null; then
    echo "podman is not installed: sudo apt-get install podman runc" >&2
    exit 1
fi
# runc, because crun refuses some arrangements of cgroups; limits that every machine grants; and no process
# that waits five minutes after each command for somebody to ask how it ended.
{
    echo '[containers]'
    echo 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]'
    echo '[engine]'
    echo 'exit_command_delay = 1'
    if command -v runc >/dev/null; then
        echo 'runtime = "runc"'
    fi
} >"$socket.conf"
# Its helpers leave files where they are started.
cd "$(dirname "$socket")"
socket=$PWD/$(basename "$socket")
CONTAINERS_CONF=$socket.conf exec podman system service --time=0 "unix://$socket"
