"""The supervisor and its worker processes: real ones, killed, stopped and left behind."""
