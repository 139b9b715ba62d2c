"""One module per plugin; ``registry`` lists them in order."""
