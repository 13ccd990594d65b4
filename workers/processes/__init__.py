"""Real processes, from the start of a command to the proof that none of its processes is left. No jobs, no Redis.

================ ====================================================================================================
spawning         starts a command as the leader of a session, with descriptors 0, 1 and 2
environment      builds the environment of a job's process from an allow-list
spawn_errors     explains why a command could not be started
pipes            reads the outputs of a command, and writes its input
terminal         opens a pseudo-terminal in place of the pipes
readiness        calls back when a descriptor is readable
process          one process: signal its group, check for its exit, reap it
termination      waits for the leader; on request sends TERM and CONT, waits, then sends KILL
process_tree     attributes processes to attempts, including those that left their group
sweep            ends the processes that outlive their leader
subreaper        makes this process the parent of its orphaned descendants
cgroup           one control group per worker process, where the kernel allows it
procfs           reads ``/proc``
================ ====================================================================================================

The rule of the package: reap a leader last. While the leader is a zombie, its process id and group id cannot be reused,
so a signal to the group cannot hit a stranger. For every other process, ``send_signal`` opens a pidfd and compares the
start time before it sends anything.

An attempt is over when its leader has exited and no stray is left. A stray is a child of this process that is not a
leader. Orphans become children of this process, because it is a child subreaper, so one read of its own children shows
whether there is any. Only if there is one does a search of ``/proc`` follow.
"""
