"""The whole system as people use it: real processes, real signals, the command line."""
