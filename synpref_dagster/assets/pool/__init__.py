"""Box 1, the pool: read, cleaned, decontaminated, split by stage (Appendix D.1).

What does not belong here: how a pair is judged. Cleaning and routing are in `curation/pool/`,
decontamination in `curation/contamination/`, personal data in `curation/personal_data/`,
readers in `sources/`.
"""
