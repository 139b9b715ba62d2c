"""Objects explained for people: what ``kutter describe`` prints, kind by kind."""
