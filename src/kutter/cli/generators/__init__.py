"""Objects made from a few words: what ``create KIND``, ``run`` and ``expose`` send."""
