"""Parts of bench/pool_scale.py."""
