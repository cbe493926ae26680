"""The campaign's report as one HTML page, rendered from `report.json` alone.

What does not belong here: numbers that are not in `report.json` (the keys are set in
`curation/evidence/report.py`) and the report on the terminal (`cli/report.py`).
"""
