"""One module or package per controller; registry.py lists them all."""
