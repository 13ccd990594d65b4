"""The Makefile, the pinned packages, the import contracts, the wheel and the container files."""
