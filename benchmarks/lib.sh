# shellcheck shell=bash
# What the benchmarks' commands share: all that has to be installed, and the Engine.
if [[ " $* " == *" -h "* || " $* " == *" --help "* ]]; then
  sed -n '2,/^source/ s/^# //p' "$0"
  exit
fi
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

trap 'trap "" INT TERM HUP; engine_done' EXIT

# benchmark MODULE ARGUMENT...: run a module of this folder.
benchmark() {
  local module=$1 code=0
  shift
  venv bench -e "${ROOT}[test]" "jupyterhub==6.1.*" "dockerspawner==14.*"
  proxy
  engine_ready
  images busybox lab
  # The file names that are given mean the folder that the command was called in. Its modules are
  # not meant (Python 3.11 has a way to say so): it may be another checkout.
  PYTHONSAFEPATH=1 PYTHONPATH=$ROOT:$ROOT/tests "$VENV/bin/python" -m "benchmarks.$module" "$@" || code=$?
  return "$code"
}
