"""The queues to compare with, a file each. Where they are imported they are installed: not where tests run."""
