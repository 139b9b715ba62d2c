"""How objects are shown: tables, trees, names, templates."""
