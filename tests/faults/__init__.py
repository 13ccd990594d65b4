"""Faults injected into real processes and real servers, and checks that the promises hold under them.

================= ====================================================================================================
hosts             Two hosts on one machine, and the link between them.
fleet             Workers that may be killed, frozen and replaced, for the soak.
error_rates       The number of errors per second.
result_watcher    Watches whether the result of a job changes.
evidence          All that is known after a test: from the commands, from Redis and from the kernel.
redis_leftovers   What is in Redis and should not be, once every job has a result.
collecting        Collects the evidence and judges it: ``check_invariants`` at the end of each test.
invariants        The checks of the invariants I1 to I12.
soak              Random faults for minutes: ``make soak``.
================= ====================================================================================================

Helpers that other folders use too are in ``tests/support``: ``wire`` and ``wire_faults`` (a proxy that delays, loses,
holds back and cuts), ``faults`` (of servers and processes), ``witness`` (the file to which commands report) and
``cases`` (the catalogue, and the tests that prove it).
"""
