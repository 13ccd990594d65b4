"""What the processes of oneshot-queue report about themselves. Knows no broker and no event loop."""
