"""Tests of the local broker, with real servers and real processes."""
