"""Why something is not what its owner wants: pure findings over fetched trees, in sentences."""
