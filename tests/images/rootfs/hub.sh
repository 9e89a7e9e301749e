#!/bin/sh
# Runs inside the new root file system of dockernamed-test/hub-base: JupyterHub in /opt/hub; its
# proxy is Debian's. The wheels lie in /tmp/wheels, so nothing is fetched from an index.
set -eu

python3 -m venv /opt/hub
/opt/hub/bin/pip install --quiet --no-cache-dir --no-index --find-links=/tmp/wheels \
    --no-compile --disable-pip-version-check --root-user-action=ignore "$@"
/opt/hub/bin/python -m compileall -q -j 0 /opt/hub/lib
mkdir -p /srv/jupyterhub
rm -rf /tmp/wheels /tmp/setup.sh
