"""fastopt beside SciPy, measured by asv. CONTRIBUTING.md has the command."""
