"""The kutter command."""
