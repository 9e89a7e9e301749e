"""What should be, and what to do about it: pure functions from settings to a plan.

No I/O, no clock, no Docker package and no JupyterHub: data in, data out.
Entered by everything above it; enters only `naming`, `templates` and `errors`.
"""
