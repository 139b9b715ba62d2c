"""What objects cost a namespace, and which quota they count against. Pure."""
