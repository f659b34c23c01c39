"""Answers that PHP allows to be given again, to whoever asks the same.

terms.py     what an answer says about that: Cache-Control, Vary, Age (pure)
keys.py      what "the same" is: the keys of messages, and of what an answer varies on (pure)
memory.py    answers within a bound of bytes; those not used for longest give way (pure)
"""
