#!/bin/sh
# Runs a command through a separate local broker: `make demo`, or this script with oneshot-queue on PATH.
#
# State is kept in a temporary directory, so your own brokers and jobs are not touched. Nothing is left running at the end.
set -eu

unset ONESHOT_QUEUE_URL
XDG_STATE_HOME=$(mktemp -d)
export XDG_STATE_HOME

leave() {
    oneshot-queue broker stop >/dev/null 2>&1 || true
    rm -rf "$XDG_STATE_HOME"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() {
    if [ -t 1 ]; then
        printf '\n\033[1m%s\033[0m\n' "$*"
    else
        printf '\n%s\n' "$*"
    fi
}

command='echo "hello from process $$"; sleep 1; echo "a second later, on stderr" >&2'

say "\$ oneshot-queue run --name demo -- sh -c '$command'"
oneshot-queue run --name demo -- sh -c "$command"

say '$ oneshot-queue show last'
oneshot-queue show last

say '$ oneshot-queue ls'
oneshot-queue ls

say '$ oneshot-queue broker stop'
oneshot-queue broker stop
