"""How joints become motion patches."""
