"""The duties of a worker, one file each.

Every service has ``run()``, which runs until it is cancelled, and ``run_once()``, which makes one pass; tests call it
directly. ``repeat`` is the loop of all services. No service imports another: each is given the parts it needs, typed by
a small ``Protocol``.

==================  =======================================================  =======================================
service             duty                                                     when it fails
==================  =======================================================  =======================================
claimer             claims waiting jobs for free slots; waits for new ones   backs off; reads back a lost reply
recorder            records silence, activity and results                    sends them again; idempotent
shipper             sends output, at most ten times a second for each job    drops the oldest output, and counts it
lease_keeper        renews leases; the replies also list interrupts          renews sooner; a lost lease ends its jobs
interrupt_listener  receives announced interrupts at once                    reconnects; renewals list them too
reasserter          reports running jobs to a server that restarted          reports on the next connection
presence            shows that the worker lives, and what it runs            repeats
fencer              ends exclusive jobs before their lease expires           needs no broker
sweeper             marks jobs of dead workers lost; repairs queues          discards its observations, starts again
promoter            moves due jobs to their stream; expires overdue ones     repeats; every claim does the same
reconciler          starts or returns jobs whose claim reply was lost        repeats
crash_recovery      settles the jobs of dead workers of this machine         repeats; another worker may take over
pruner              removes finished jobs beyond their retention             repeats
==================  =======================================================  =======================================
"""
