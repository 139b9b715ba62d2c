"""API priority and fairness: who waits when not everybody can be served at once."""
