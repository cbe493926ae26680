"""The built-in review page: routes, forms with limits, safe rendering, templates, serving.

What does not belong here: who sees which pair next (`people/queueing.py`, `people/desk.py`),
accounts (`people/accounts.py`) and Label Studio (`people/label_studio.py`).
"""
