"""`python -m wsgate.config > docs/settings.md`."""

from wsgate.config.page import settings_page

print(settings_page(), end="")
