"""Three times as many messages as PHP can do: what is answered, how soon the rest is refused."""
