"""The ground: a preference pair, its identities, attributes, structure, columns and tallies.

Beside them `progress`: how far work is, as data beside its log line.

What does not belong here: files and data sets (`storage/`) and anything that drops, labels or
ranks a pair (`curation/`). It imports no other package of the project, so that every one may
import it.
"""
