"""What a campaign can be told: the profile, its sections, and the profiles that come along.

What does not belong here: what a setting does (the package that obeys it) and how it reaches an
asset (`resources/campaign.py`). A profile is data: it never imports a step.
"""
