"""The conformance suite of the store: the same on fakeredis and on every real server."""
