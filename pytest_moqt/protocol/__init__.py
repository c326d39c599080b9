"""MoQT on the wire and the rules of a session: no I/O, no clock, standard library only."""
