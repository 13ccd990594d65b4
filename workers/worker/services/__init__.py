"""The duties of a worker, one file each.

Every service has ``run()``, which goes on until it is cancelled, and ``run_once()``, one pass, which tests call
directly. ``repeat`` is the loop of all of them. No service imports another: each is given the parts it needs, typed by
a small ``Protocol``.

==================  =======================================================  =======================================
service             duty                                                     when it fails
==================  =======================================================  =======================================
claimer             claims waiting jobs for free slots; waits at the bell    backs off; reads back a lost reply
recorder            records silence, activity and results                    keeps all and repeats; idempotent
shipper             sends output, at most ten times a second for each job    drops the oldest output, and counts it
lease_keeper        renews the leases, which also brings interrupts          renews sooner; a lost lease ends its jobs
interrupt_listener  receives announced interrupts at once                    reconnects; a renewal brings them too
reasserter          tells a server that may have forgotten it what it runs   tells the next connection
presence            shows that the worker lives, and what it runs            repeats
fencer              ends exclusive jobs before their lease is given away     needs no broker
sweeper             marks jobs lost whose worker is gone; repairs queues     forgets what it saw, and begins again
promoter            moves due jobs to their stream; expires overdue ones     repeats; every claim does the same
reconciler          starts or returns jobs whose claim's reply was lost      repeats
crash_recovery      settles the jobs of dead workers of this machine         repeats; else the next worker does it
pruner              forgets finished jobs that are too old                   repeats
==================  =======================================================  =======================================
"""
