"""What a face looks like: its places, skin and eyes."""
