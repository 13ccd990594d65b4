"""The parts of the local engine: what ``AsyncOrchestrator`` and ``OneshotTask`` are built from. No Redis, no queue.

================ ====================================================================================================
runtime          what all tasks of one orchestrator share: clock, observers, environment, process tree, start log
heartbeat        checks every task for silence and time limits; tasks have no timers of their own
capture          keeps the head and the tail of a command's output in memory
outcomes         turns an exit status, and why the process was ended, into an ``Outcome``
batch            what ``run_commands`` adds: outcomes in order, Ctrl-C, errors of the caller's observer
requirements     checks the kernel, the event loop and the concurrency before anything starts
crash_points     kills the worker at a named point, for tests
================ ====================================================================================================

The engine runs on one event loop in one thread. Per command it costs one asyncio task, which is reused for the next
command. The outputs, the exit and the input are driven by callbacks of the loop. One heartbeat serves all tasks.

The engine reports everything through observers: ``oneshot_queue.task_events`` lists the events. A worker subscribes an
observer that forwards the events to Redis; ``run_commands`` subscribes one that collects errors.
"""
