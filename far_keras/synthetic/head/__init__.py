"""The shape of a head: its mesh, what changes it, and where on it things grow."""
