"""Box 7, the evidence: the method's claims, judges and people measured, and the report.

What does not belong here: how a claim is tested or an accuracy computed (`curation/evidence/`),
and how the report page looks (`publishing/report/`). Only here and in tests may the sealed
truth be read.
"""
