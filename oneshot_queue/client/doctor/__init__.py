"""The doctor: what is wrong with a broker and its queues, what it means, what to do; and, on request, mending.

Each family of checks is a verb of its own that notes findings. Without ``mends`` nothing is written, not a byte; with
it, only what needs no guess is mended, by scripts that look again in the instant in which they write::

    examining         the verb: first the server, then queue by queue
      server          version, memory, persistence, replicas, clock       holes   known holes, and where they are closed
      kinds           keys of a wrong type
      leases          leases that are over, or unknown, and what is pending under them
      jobs            groups, streams, jobs by state, delayed jobs
      totals          sums and counters
    findings          what a finding is, and what each kind means
"""
