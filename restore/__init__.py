"""From weights to a callable on arrays."""
