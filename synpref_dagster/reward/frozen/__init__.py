"""The third backend: a pretrained backbone that is never trained, and a head that is.

The backbone is read once for each distinct (conversation, response); what it says of them, its
features, is kept by content and shared by all models of a campaign and by the nights after. A head
is Bradley-Terry on differences of features and takes seconds.

What does not belong here: training of a backbone's own weights (`reward/training/`), and features
that need no backbone (`reward/linear/`).
"""
