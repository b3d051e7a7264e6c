"""The review: which patches a person should look at next, and which labels look wrong."""
