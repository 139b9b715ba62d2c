"""Certificate requests: approved for nodes, signed, and cleaned up."""
