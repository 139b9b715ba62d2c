"""Volume kinds and their drivers."""
