"""Several parts together, on fakeredis and on every real server."""
