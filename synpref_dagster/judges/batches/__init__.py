"""Batch mode: requests as files, a ledger of batches, replies that enter the same cache.

What does not belong here: the direct call (`judges/client.py`) and the cache itself
(`judges/cache.py`). The sensor that continues a waiting campaign is
`definitions/waiting_for_batches.py`.
"""
