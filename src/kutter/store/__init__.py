"""Keys, revisions and bytes. Knows nothing of kinds."""
