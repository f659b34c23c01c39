"""Several processes that act as one: publishes, users, connections and presence across them."""
