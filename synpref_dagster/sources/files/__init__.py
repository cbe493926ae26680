"""Files as streams of raw rows: JSON, tables, Parquet, Arrow, hub; known by content.

`folders` which files a source has, and `known_files` which it had; `containers` what a file is by
its first bytes; `streams` decompressed and in UTF-8; `rows` from a file to its rows, by way of
`json_arrays`, `documents`, `tables` or `columnar`; `raw_rows` one row; `identity` and
`content_hashes` what tells a file from its next version.

What does not belong here: what a row means (`sources/formats/`) and whether its pair is wanted
(`curation/pool/`). Paths and object stores are opened by `storage/uris.py`.
"""
