"""Figures of speed, measured side by side: see docs/benchmarks.md."""
