"""Structure that hides in rows: other spellings of messages, chats stored or rendered as text.

What does not belong here: the layouts of public sets (`sources/formats/`), which call `opened`
through `build_pair`, and what makes a record sound (`pairs/structure.py`). Whatever is not
represented exactly is refused with a reason; nothing is dropped.
"""
