"""Who a client is by what it brings: signed tokens, signed URLs, secrets."""
