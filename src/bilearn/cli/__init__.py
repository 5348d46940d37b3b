"""The ``bilearn`` command line: one command a file."""
