"""The second backend, for small data: Bradley-Terry on frozen features of a response.

What does not belong here: backbones and anything that needs torch (`reward/training/`,
`reward/attention/`). A profile chooses the backend, and `resources/models.py` obeys.
"""
