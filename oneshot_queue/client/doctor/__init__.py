"""The doctor: reports what is wrong with a broker and its queues, what it means and what to do, and repairs on request.

Each family of checks is a verb of its own and adds findings to a report. Without ``repair``, nothing is written. With
it, only what is safe to repair automatically is repaired, by scripts that check again in the same atomic step::

    examining         the verb: the server first, then queue by queue; keys of a wrong type
      server          version, memory, persistence, replicas, clock      advisories   known vulnerabilities and faults
      leases          leases that are expired, condemned or unknown, and what is pending under them
      jobs            consumer groups, streams, jobs by state, delayed and expiring jobs
      totals          totals and counters
    findings          what a finding is, and the report that collects them
    meanings          the texts of each kind of finding

A queue with a key of a wrong type is never repaired: no script could be sure to finish. A job is settled without its
worker only if that worker gives no sign of life and the server has been up for a minute, because leases and presences
expire while the server is down.
"""
