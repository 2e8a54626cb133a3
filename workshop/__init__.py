"""The workshop: why things are as they are, what happened, and exercises that are graded by it."""
