"""The tests; what they share stands in this folder, see ``conftest.py``."""
