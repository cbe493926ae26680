"""Parts of bench/datatrove_pool.py: one file per side, run as processes of their own."""
