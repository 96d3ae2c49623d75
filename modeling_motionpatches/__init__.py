"""3D human motion and language in one embedding space."""
