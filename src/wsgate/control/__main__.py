"""`python -m wsgate.control` prints docs/metrics.md."""

from wsgate.control.page import page

print(page(), end="")
