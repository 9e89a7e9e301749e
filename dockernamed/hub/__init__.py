"""JupyterHub's side: what is done once per Hub, its pages and REST handlers, its database.

Only here, in `spawner` and in `settings` is JupyterHub imported.
Entered by `spawner` and by the package when a Hub starts.
"""
