"""Many pictures into one table: in several processes, resumable, each picture exactly once."""
