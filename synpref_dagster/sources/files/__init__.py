"""Files as streams of raw rows: JSON lines and arrays, CSV, Parquet, hub; known by content.

What does not belong here: what a row means (`sources/formats/`) and whether its pair is wanted
(`curation/pool/`). Paths and object stores are opened by `storage/uris.py`.
"""
