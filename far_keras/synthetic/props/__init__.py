"""Things that are in the way: hands, microphones, other people's heads."""
