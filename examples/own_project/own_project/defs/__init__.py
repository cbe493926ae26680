"""Definitions of this project, one file or folder each."""
