"""How weights are learned, judged, and used from the shell."""
