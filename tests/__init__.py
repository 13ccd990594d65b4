"""The tests. ``conftest.py`` defines the fixtures that all of them share."""
