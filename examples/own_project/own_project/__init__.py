"""A Dagster project of somebody's own that takes up a whole campaign as a component."""
