#!/bin/sh
# Runs inside the new root file system of dockernamed/lab: JupyterLab in /opt/jupyter, user jovyan.
# The wheels lie in /tmp/wheels, so nothing is fetched and no index settings enter the image.
set -eu

python3 -m venv /opt/jupyter
/opt/jupyter/bin/pip install --quiet --no-cache-dir --no-index --find-links=/tmp/wheels \
    --no-compile --disable-pip-version-check --root-user-action=ignore "$@"
# Users cannot write there: without this every start of a server would compile it all.
/opt/jupyter/bin/python -m compileall -q -j 0 /opt/jupyter/lib
useradd --uid 1000 --create-home --shell /bin/bash jovyan
chown -R jovyan:jovyan /home/jovyan
rm -rf /tmp/wheels /tmp/setup.sh
