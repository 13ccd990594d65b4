"""The queues to compare with, one module each. They are imported only where they are installed."""
