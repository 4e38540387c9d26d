"""Many images into one table: in several processes, resumable, each image exactly once."""
