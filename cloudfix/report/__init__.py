"""Pages to look at: a restored scene before and after, and an index of many."""
