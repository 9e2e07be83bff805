"""Reusing verdicts: which tests need not run again, and the proof of the rule by those that run all the same."""
