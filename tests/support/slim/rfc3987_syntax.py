"""Stands before a package of this name, and is none: so JupyterHub is imported in half the time.

The package makes a parser of international URIs when it is imported. JupyterHub comes by it through
jsonschema, which does without where it is missing, and no schema here has such a format.
"""

from __future__ import annotations

raise ImportError("left out in tests, since nothing needs it and its import takes long")
