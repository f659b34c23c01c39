"""The hook `rate`: so many connects or messages in a time.

hook.py      whom it counts, and what it says
sharing.py   tokens of all processes, or of this one while the bus is away
leases.py    which of them are here ahead of their use (pure)
make.py      made as its options ask
bucket.py    buckets of one process (pure)
"""
