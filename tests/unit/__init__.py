"""Parts alone, without a server."""
