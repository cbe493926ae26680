"""What lies in a folder, and a first profile that reads it: what `synpref init` does.

What does not belong here: reading rows (`sources/reading.py`), what a whole pool is like before it
is curated, and what is said on a terminal (`cli/`). Nothing here opens a connection, but for hub
data sets that somebody named.
"""
