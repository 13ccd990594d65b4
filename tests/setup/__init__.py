"""The promises of the set-up: Makefile, pins, walls, container files."""
