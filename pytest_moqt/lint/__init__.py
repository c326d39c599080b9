"""A strict checker of TAP 14, of the interop runner's contract, and of how the runner counts a document."""
