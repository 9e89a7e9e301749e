"""Helpers of the tests of the Engine client and the watcher."""
