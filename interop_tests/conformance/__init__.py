"""What the drafts ask of a relay beyond the runner's catalogue: a case for each statement, in profiles."""
