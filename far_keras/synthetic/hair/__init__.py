"""Head hair, brows and beards, strand by strand."""
