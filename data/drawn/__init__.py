"""The faces that the project draws itself."""
