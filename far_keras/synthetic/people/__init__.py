"""Who is drawn: attributes with their correlations, and what they mean in numbers."""
