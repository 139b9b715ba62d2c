"""HTTP/1.1, WebSocket and SPDY/3.1 on both sides. Knows nothing of kinds."""
