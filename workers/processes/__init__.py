"""Real processes, from their start to the proof that nothing of them is left; no jobs, no states, no Redis.

================ ====================================================================================================
process          one process: started as the leader of a session, signalled as a group, reaped
environment      which variables it gets
pipes            its outputs read, its input fed
terminal         a pseudo-terminal in the place of the pipes
spawn_errors     why it could not be started
termination      TERM, CONT, grace, KILL, and what came of it
process_tree     which process of this machine belongs to which command, also when it left its group
sweep            what left the group, found and ended
subreaper        orphans become children of this process
procfs           what the kernel tells
================ ====================================================================================================
"""
