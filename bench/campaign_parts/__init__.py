"""Parts of bench/campaign_scale.py: the made sources, and one process per asset."""
