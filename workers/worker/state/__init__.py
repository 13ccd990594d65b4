"""What the parts of a worker share. Nothing here talks to Redis.

======================  ==========================================================================================
``held_jobs``           the claimed jobs whose result is not recorded, each with its phase
``start_log``           which of them may have been started, written to the journal for the supervisor
``leases``              the right to hold jobs, one lease for each queue
``slots``               how many more jobs may be claimed
``output_buffer``       output on its way to Redis, bounded
``completions``         results and requeues, with everything that is recorded about them
``early_interrupts``    interrupts that arrived before their job
``batch_window``        batches results and claims while many short jobs arrive
``server_clock``        the time by Redis' clock
======================  ==========================================================================================
"""
