"""The duties of a worker, one file each.

Every service has ``run()``, which goes on until it is cancelled, and ``run_once()``, one pass, which tests drive
directly. None imports another; what they share is passed in (``state/``).

============  ============================================================  ===================================
service       duty                                                          when it fails
============  ============================================================  ===================================
claimer       takes waiting jobs for free slots; waits at the doorbell      backs off; reads back a lost reply
recorder      writes down silence, activity and the end of jobs             keeps all and repeats; idempotent
shipper       sends output, at most ten times a second a job                drops the oldest, and counts it
lease_keeper  renews the leases; learns of interrupts that way              repeats sooner; lost: ends the jobs
interrupts    hears announced interrupts at once                            reconnects; the renewal finds them
reassertion   tells a server that may have forgotten it what runs here      tells the next connection
presence      shows that the worker lives, and what it runs                 repeats
fencer        ends exclusive jobs before their lease could be given away    asks nobody, so it cannot
sweeper       decides the jobs of workers that are gone; mends strays       forgets what it saw, begins anew
promoter      lets delayed jobs wait in line, ends what expired             repeats; a claim does the same
reconciler    starts or returns what was claimed and never received         repeats
heir          decides the jobs of dead worker processes of this machine     repeats; else the next worker does
pruner        forgets finished jobs that are too old                        repeats
============  ============================================================  ===================================
"""
