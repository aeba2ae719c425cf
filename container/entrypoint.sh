#!/bin/sh
# exec replaces this process, so that signals reach the command and exit codes are its own. All logic is in `repro`.
set -eu
case "${1-}" in
nox)
    shift
    exec nox -f /opt/repro/noxfile.py "$@"
    ;;
repro | python | python3 | pytest | sh | bash | /*)
    exec "$@"
    ;;
*)
    exec repro "$@"
    ;;
esac
