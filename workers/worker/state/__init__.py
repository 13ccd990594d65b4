"""What the parts of a worker share. Nothing here talks to Redis.

======================  ==========================================================================================
``held_jobs``           the claimed jobs whose result is not recorded, each with its phase; owns the start log
``start_log``           which of them may have been started, in memory that the supervisor can read
``leases``              the right to hold jobs, one lease for each queue
``slots``               how many more jobs may be claimed
``output_buffer``       output on its way to Redis, bounded
``completions``         results and returns, with all that has to be recorded about them
``early_interrupts``    interrupts that arrived before their job
``batch_window``        the moment for which results and claims wait during a rush, to go out together
``server_clock``        the time on Redis' clock
======================  ==========================================================================================
"""
