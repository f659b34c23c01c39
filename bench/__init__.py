"""wsgate beside the alternatives, in one run: `scripts/bench`."""
