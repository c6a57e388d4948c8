"""AC-Attention and convolutions in C, for processors that multiply bfloat16."""
