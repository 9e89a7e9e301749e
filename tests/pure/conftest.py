"""What the pure tests share: they start within seconds."""

from __future__ import annotations

import sys

# jsonschema, which JupyterHub imports too, makes a parser of international URIs of this package as
# soon as it is imported, which takes longer than most of these files. No schema here has such a
# format; where the package is missing, jsonschema does without it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
