"""Faults made on purpose, with real processes and real servers, and the proof that the promises hold under them.

============== ======================================================================================================
wire           A proxy between a client and its server that delays, loses, holds back and cuts what passes.
troubles       What can happen on a wire, each counting how often it did.
faults         Faults of servers and workers: frozen, killed, emptied, full, their data cut off.
hosts          Two hosts on one machine, and the link between them.
fleet          Workers that may be killed, frozen and replaced, for the soak.
error_rates    How many errors there are per second.
ends           Watches whether an end changes.
evidence       What is known after a test: from the commands themselves, from Redis, from the kernel.
remains        What Redis may keep when every job has ended.
collecting     Collects it, and has it judged: ``check_invariants``, which every test here ends with.
invariants     The one judge of I1 to I12.
cases          Which test proves which case of the catalogue.
soak           Random faults for minutes: ``make soak``.
============== ======================================================================================================
"""
