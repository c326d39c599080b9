"""A small MoQT relay, for runs without a relay at hand and for proving that tests of a relay can fail."""
