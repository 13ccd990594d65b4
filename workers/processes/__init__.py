"""Real processes, from their start to the proof that nothing of them is left; no jobs, no states, no Redis.

================ ====================================================================================================
process          one process: signalled as a group, reaped
spawning         how it is started, as the leader of a session
environment      which variables it gets
pipes            its outputs read, its input fed
terminal         a pseudo-terminal in the place of the pipes
readiness        who is called when one of its descriptors can be read
spawn_errors     why it could not be started
termination      TERM, CONT, grace, KILL, and what came of it
process_tree     which process of this machine belongs to which command, also when it left its group
sweep            what left the group, found and ended
subreaper        orphans become children of this process
procfs           what the kernel tells
================ ====================================================================================================
"""
