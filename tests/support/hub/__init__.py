"""Helpers of the tests with real JupyterHub processes."""
