"""What the renderer can vary, and a contact sheet of each: rows of values, the same people."""
