"""Box 1, personal data: patterns, guards, levels and the judged sample (Appendix D.3).

What does not belong here: asking judges how sensitive a finding is (`judges/questions.py`) and
dropping pairs (`curation/pool/selection.py`). No text that was found is ever kept.
"""
