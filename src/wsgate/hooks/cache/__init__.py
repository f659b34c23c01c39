"""Answers that PHP allows to be given again, to whoever asks the same.

terms.py      what an answer says about that: Cache-Control, Vary, Age (pure)
keys.py       what "the same" is: keys of messages, and of what an answer varies on (pure)
asker.py      what was known of a connection when PHP was asked (pure)
memory.py     answers within a bound of bytes; those not used for longest give way (pure)
known.py      what a cache knows, and what it learns from an answer (pure)
flight.py     a question on its way to PHP, and those who wait for its answer
values.py     answers as bytes in a store (pure)
elsewhere.py  answers in memcached or Redis
purging.py    what processes tell each other to forget (pure)
hook.py       the hook; make.py: as its options ask for it
"""
