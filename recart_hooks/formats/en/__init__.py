"""English is the one language."""
