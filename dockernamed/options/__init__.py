"""What users may choose: profiles and options, and the check of untrusted `user_options`.

All of it is pure but for `chooser`, which calls the admin's callables and reads templates.
Entered by `spawner` and `hub`; knows `images` and the modules on top, no Docker and no JupyterHub.
"""
