# shellcheck shell=bash
# What the scripts beside this file share: where things are kept, what must be installed, which
# Engine to use. Everything is made in $DOCKERNAMED_CACHE (default: .cache in the checkout) and
# used again by the next run. pip, npm and apt are used with the machine's own settings.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${DOCKERNAMED_CACHE:-$ROOT/.cache}
mkdir -p "$CACHE/log"
CACHE=$(cd "$CACHE" && pwd)
export DOCKERNAMED_CACHE=$CACHE
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

if [[ -t 1 ]]; then BOLD=$'\e[1m' PLAIN=$'\e[0m'; else BOLD='' PLAIN=''; fi

step() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '    %s\n' "$*"; }
die() {
  printf '%serror:%s %s\n' "$BOLD" "$PLAIN" "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [[ $EUID -eq 0 ]]; }

# quietly NAME COMMAND...: the command's output goes to a log, and is shown only if it fails.
quietly() {
  local log=$CACHE/log/$1.log
  shift
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 40 "$log" >&2
    die "failed: $* (all of its output: $log)"
  fi
}

# ------------------------------------------------------------------------- Debian packages

# can_apt: may this run install Debian packages? DOCKERNAMED_NO_APT=1 forbids it.
can_apt() { is_root && have apt-get && [[ -z ${DOCKERNAMED_NO_APT:-} ]]; }

# apt_need PACKAGE...: see debian.sh, which takes this function's place.
apt_need() {
  debian
  apt_need "$@"
}

# debian: what only root on a bare Debian needs.
debian() { source "$ROOT/scripts/debian.sh"; }

# need COMMAND PACKAGE: the command is there, or its package gets installed.
need() {
  have "$1" && return 0
  can_apt || die "$1 is missing: install it (Debian package: $2)"
  apt_need "$2"
}

# ------------------------------------------------------------------------------- Python

# python3_ready: a Python that can make virtual environments.
python3_ready() {
  need python3 python3
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    can_apt || die "python3 cannot make a venv: install python3-venv"
    apt_need python3-venv
  fi
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is needed"
}

# venv NAME ARGUMENT OF PIP...: a virtual environment in the cache, of $PYTHON (default: python3). It
# is made again when the arguments, pyproject.toml or Python itself changed. Sets VENV to its path.
venv() {
  local name=$1 key python=${PYTHON:-python3}
  shift
  python3_ready
  VENV=$CACHE/venv-$name
  key=$({ printf '%s\n' "$ROOT" "$CACHE" "$@"; "$python" -VV; cat "$ROOT/pyproject.toml"; } | sha256sum | cut -c1-16)
  # One script at a time makes it; a second one waits and then finds it made.
  (
    if have flock; then flock 9; fi
    [[ $(cat "$VENV/.key" 2>/dev/null) != "$key" ]] || exit 0
    step "Making the Python environment ${VENV#"$ROOT"/}"
    rm -rf "$VENV"
    quietly "venv-$name" "$python" -m venv "$VENV"
    quietly "venv-$name" "$VENV/bin/python" -m pip install "$@"
    printf '%s\n' "$key" >"$VENV/.key"
  ) 9>"$CACHE/.lock-$name"
}

# venv_hub LINE: the checkout, editable, with its test tools and this line of JupyterHub (6.1).
venv_hub() { venv "hub-$1" -e "${ROOT}[test]" "jupyterhub==$1.*"; }

# venv_oldest VERSION: likewise, with the oldest versions of all that pyproject.toml allows, and with
# Python VERSION where one is to be had.
venv_oldest() {
  local PYTHON='' candidate bounds=$CACHE/lower-bounds.txt
  for candidate in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python; do
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      PYTHON=$candidate
      break
    fi
  done
  [[ -n $PYTHON ]] || note "there is no Python $1: the lower bounds are tested with $(python3 -V)"
  python3 "$ROOT/scripts/lower_bounds.py" >"$bounds"
  venv hub-oldest -e "${ROOT}[test]" --constraint "$bounds"
}

# -------------------------------------------------------------------------------- proxy

# proxy: put configurable-http-proxy on PATH, from npm, or from Debian where there is no npm.
proxy() {
  local folder=$CACHE/proxy bin
  bin=$folder/node_modules/.bin
  if [[ ! -x $bin/configurable-http-proxy ]] && have configurable-http-proxy; then return 0; fi
  if [[ ! -x $bin/configurable-http-proxy ]]; then
    if ! have npm; then
      can_apt || die "npm is missing: install it, or configurable-http-proxy itself"
      # Without npm: it would bring four hundred packages along.
      apt_need node-configurable-http-proxy
      return 0
    fi
    step "Installing configurable-http-proxy"
    mkdir -p "$folder"
    quietly proxy npm install --no-save --no-audit --no-fund --prefix "$folder" configurable-http-proxy@5
  fi
  PATH=$bin:$PATH
}

# ------------------------------------------------------------------------------- Engine

# engine_answers URL: an Engine answers there. Asked without any package, so it works at once.
engine_answers() {
  python3 - "$1" <<'PY' 2>/dev/null
import http.client, socket, sys
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
if url.scheme in ("unix", "http+unix"):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(5)
    sock.connect(url.path)
    link = http.client.HTTPConnection("localhost", timeout=5)
    link.sock = sock
elif url.scheme == "tcp":
    # With TLS only the port is tried: the certificates are the client's business.
    with socket.create_connection((url.hostname, url.port or 2375), timeout=5):
        sys.exit(0)
else:
    sys.exit(0)
link.request("GET", "/_ping")
sys.exit(link.getresponse().status != 200)
PY
}

# engine_ready: export DOCKER_HOST of an Engine that answers: the one given, the machine's own,
# or one of ours, which engine_done stops again if this call started it.
engine_ready() {
  local url
  ENGINE_STARTED=''
  need python3 python3
  if [[ -n ${DOCKER_HOST:-} ]]; then
    engine_answers "$DOCKER_HOST" || die "no Engine answers at DOCKER_HOST=$DOCKER_HOST"
    return 0
  fi
  for url in unix:///var/run/docker.sock "unix://${XDG_RUNTIME_DIR:-/nonexistent}/docker.sock" \
    "unix://$HOME/.docker/run/docker.sock" "$("$ROOT/scripts/engine" url)"; do
    if engine_answers "$url"; then
      export DOCKER_HOST=$url
      return 0
    fi
  done
  is_root || die "no Docker Engine answers; start one, set DOCKER_HOST, or run this as root on Debian"
  # Said first: an interrupted start is for engine_done to tidy up.
  ENGINE_STARTED=1
  "$ROOT/scripts/engine" start
  DOCKER_HOST=$("$ROOT/scripts/engine" url)
  export DOCKER_HOST
}

engine_done() {
  [[ -n ${ENGINE_STARTED:-} ]] || return 0
  ENGINE_STARTED=''
  "$ROOT/scripts/engine" stop
}

# images NAME...: see scripts/images.py. Root on Debian needs no image registry for them.
images() {
  rootfs
  step "Images: $*"
  DOCKERNAMED_ROOTFS=$ROOTFS "$VENV/bin/python" "$ROOT/scripts/images.py" "$@"
}

# rootfs: set ROOTFS to the tarball that the images are built on, made if need be; "" where the
# images' bases are pulled.
rootfs() {
  ROOTFS=''
  can_apt && grep -qsx 'ID=debian' /etc/os-release || return 0
  debian
  debian_rootfs
}
