"""What a run says, in findings that a person can act on: ``dominance.verdict``."""
