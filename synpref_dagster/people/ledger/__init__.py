"""The append-only ledger of people's answers, its database, and the batches handed out.

What does not belong here: what follows from answers: agreement and consensus stand one folder
up, gold labels in `curation/verification/`. Nothing here updates or deletes a row.
"""
