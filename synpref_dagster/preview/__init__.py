"""What a campaign will meet, need and cost, said before it starts: `synpref check`.

`survey` reads every source once and keeps counts, a few bytes a pair and a small sample; `prompts`,
`languages` and `lengths` are about those. `needs` holds the profile against what was found, `costs`
is money and time, `answering` whether endpoints are there and `hub` what is on it, `page` what is
said, `sections` how, and `check` all of it.

What does not belong here: readers, rules and prices, which are asked where they live, and the
terminal (`cli/before/check.py`). Nothing here writes, and nothing is decided for a campaign.
"""
