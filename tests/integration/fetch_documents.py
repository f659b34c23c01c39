"""Fetches each URL of its arguments as `jwt` does, all at once; says as JSON what came of it.

python -m tests.integration.fetch_documents AUTHORITY URL…
"""

import json
import sys

from twisted.internet.defer import DeferredList
from twisted.internet.task import react

from wsgate.hooks.tokens.fetching import fetcher
from wsgate.secure import trust_roots


def main(reactor, authority, *urls):
    """Print a list, in the order of the URLs: [body, max_age], or the error as a text."""
    roots = trust_roots(authority) if authority else None

    def said(results):
        words = [
            [value.body.decode(), value.max_age] if is_good else value.getErrorMessage()
            for is_good, value in results
        ]
        print(json.dumps(words))

    fetched = [fetcher(reactor, url, roots)() for url in urls]
    return DeferredList(fetched, consumeErrors=True).addCallback(said)


if __name__ == "__main__":
    react(main, sys.argv[1:])
