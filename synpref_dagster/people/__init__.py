"""People in the loop: desk, queues, accounts, protocol, agreement and consensus (Section 3.2).

What does not belong here: who is asked about which pair and what a verdict makes of it
(`curation/verification/`). A source label reaches neither the page nor its database, so that
neither can reveal it.
"""
