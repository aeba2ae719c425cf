#!/bin/sh
# The command takes this process's place, so that signals and exit codes are its own. Everything else is in `repro`.
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
