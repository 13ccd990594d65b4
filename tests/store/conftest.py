"""The fixtures for tests of the store."""

from __future__ import annotations

from tests.support.store_fixtures import keys, open_queue, real_server, real_store, store

__all__ = ["keys", "open_queue", "real_server", "real_store", "store"]
